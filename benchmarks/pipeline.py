"""The whole pipeline under Airflow, on the built-in data: seconds by task, Airflow's own share, the next day's run.

    python -m benchmarks.pipeline [--keep HOME]

starts Airflow on an empty home and runs the DAG for two days, one after the other. Limits: 12 minutes for the first
run, 4 for the next day's, a quarter of a run for Airflow itself, 8 GiB for all processes together. Airflow's share is
the part of a run's wall clock in which neither dbt nor a step was at work: scheduling, starting processes, watching.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from benchmarks import finish, say
from pipeline.airflow_api import DAG_ID, AirflowApi
from zhiyin.clock import Clock
from zhiyin.settings import Settings, get_settings

LIMIT_SECONDS = {"2017-12-01": 12 * 60, "2017-12-02": 4 * 60}
LIMIT_AIRFLOW_SHARE = 0.25
LIMIT_BYTES = 8 * 2**30
ZHIYIN = str(Path(sys.executable).with_name("zhiyin"))

Interval = tuple[float, float]


def union_seconds(intervals: list[Interval]) -> float:
    """Length of the union of intervals."""
    total, end = 0.0, float("-inf")
    for start, stop in sorted(intervals):
        total += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return total


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


class MemoryWatch(threading.Thread):
    """Peak of the memory of this process and all its descendants (proportional set size, bytes)."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(1.0):
            total = 0
            for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
                try:
                    total += process.memory_full_info().pss
                except psutil.Error:
                    continue
            self.peak = max(self.peak, total)

    def stop(self) -> int:
        self._done.set()
        self.join()
        return self.peak


def figures(settings: Settings, clock: Clock) -> dict[str, Any]:
    """What the day's run took, from Airflow's record and the steps' own."""
    api = AirflowApi(settings)
    newest = api.runs(DAG_ID, limit=1)[0]
    start, end = moment(newest["start_date"]), moment(newest["end_date"])
    tasks = api.task_instances(DAG_ID, newest["dag_run_id"])
    taken = {
        task["task_id"]: (moment(task["start_date"]), moment(task["end_date"])) for task in tasks if task["end_date"]
    }
    lines = (settings.run / "steps.jsonl").read_text().splitlines()
    steps = [row for row in map(json.loads, lines) if row["as_of"] == clock.date]
    busy = [(row["started"], row["started"] + row["seconds"]) for row in steps]
    busy.append(taken["dbt.dbt_producer_watcher"])
    wall = end - start
    airflow = 1 - union_seconds(busy) / wall
    by_task = {"dbt build": taken["dbt.dbt_producer_watcher"][1] - taken["dbt.dbt_producer_watcher"][0]}
    by_task |= {row["step"]: row["seconds"] for row in steps}
    return {
        "as_of": clock.date,
        "seconds": round(wall, 1),
        "ratio_to_limit": round(wall / LIMIT_SECONDS[clock.date], 3),
        "tasks": len(tasks),
        "seconds_by_step": {name: round(value, 1) for name, value in by_task.items()},
        "airflow_share": round(airflow, 3),
        "airflow_share_to_limit": round(airflow / LIMIT_AIRFLOW_SHARE, 3),
    }


def wait_for_run(settings: Settings) -> None:
    """Until the latest run has ended; its last tasks come after the promotion."""
    while AirflowApi(settings).runs(DAG_ID, limit=1)[0]["state"] in ("queued", "running"):
        time.sleep(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="use this (empty) home and leave it there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["ZHIYIN_HOME"] = str(arguments.keep or scratch)
        settings = get_settings()
        memory = MemoryWatch()
        memory.start()
        runs = []
        first, *later = LIMIT_SECONDS
        try:
            up = subprocess.Popen([ZHIYIN, "up", "--as-of", first], stdout=sys.stderr)
            clock = Clock.parse(first, settings.label_days)
            while not (settings.registry / "champion.json").is_file():
                if up.poll() is not None:
                    raise SystemExit(f"zhiyin up ended with {up.returncode}")
                time.sleep(1)
            wait_for_run(settings)
            runs.append(figures(settings, clock))
            for day in later:
                say(f"as of {day}")
                subprocess.run([ZHIYIN, "run", "--as-of", day], stdout=sys.stderr, check=True)
                runs.append(figures(settings, Clock.parse(day, settings.label_days)))
        finally:
            subprocess.run([ZHIYIN, "down"], stdout=sys.stderr, check=False)
        peak = memory.stop()
    finish("pipeline", {"runs": runs, "peak_bytes": peak, "peak_to_limit": round(peak / LIMIT_BYTES, 3)})


if __name__ == "__main__":
    main()

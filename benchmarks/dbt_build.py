"""The full `dbt build` of the Complete Journey against the same SQL run straight in DuckDB.

    python -m benchmarks.dbt_build [--rounds 3] [--as-of DATE]

Each round builds the warehouse from nothing twice: with dbt, models and tests; and in one DuckDB connection with the
same threads and memory limit, which runs dbt's compiled models and tests one after the other, in the order in which dbt
finished them. Limits: dbt takes at most 1.5 times as long, and its process at most 4 GiB.
"""

import argparse
import os
import resource
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from benchmarks import finish, say
from zhiyin.clock import Clock
from zhiyin.landing import land
from zhiyin.settings import Settings, get_settings
from zhiyin.store import read_json
from zhiyin.warehouse import build
from zhiyin.warehouse.failures import RUN_RESULTS
from zhiyin.warehouse.plugin import Plugin

LIMIT_RATIO = 1.5
LIMIT_BYTES = 4 * 2**30


@dataclass(frozen=True)
class Build:
    """One run of `dbt build`."""

    seconds: float  # of the command
    cpu_seconds: float  # of its process: less affected by other work on the machine
    dbt_seconds: float  # without dbt's start: importing, reading the project
    models: int
    tests: int


def own_home(scratch: str) -> Settings:
    """Settings of an empty home in a scratch folder."""
    os.environ["ZHIYIN_HOME"] = scratch
    return get_settings()


def run_results(settings: Settings) -> dict[str, Any]:
    """dbt's record of its last run."""
    results: dict[str, Any] = read_json(settings.dbt_target / RUN_RESULTS)
    return results


def cpu_seconds_of_children() -> float:
    """CPU seconds of all processes that this one started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def timed_build(settings: Settings, clock: Clock, *, anew: bool = False) -> Build:
    """`dbt build` for a day, on the warehouse as it is or ``anew``: on none."""
    if anew:
        for file in settings.data.glob("warehouse.duckdb*"):
            file.unlink()
    started, cpu_before = time.perf_counter(), cpu_seconds_of_children()
    build(settings, clock)
    seconds, cpu_seconds = time.perf_counter() - started, cpu_seconds_of_children() - cpu_before
    results = run_results(settings)
    kinds = [row["unique_id"].split(".")[0] for row in results["results"]]
    return Build(seconds, cpu_seconds, results["elapsed_time"], kinds.count("model"), kinds.count("test"))


def run_straight(settings: Settings, clock: Clock, file: Path) -> float:
    """Seconds that the SQL of dbt's last run takes in one DuckDB connection, from an empty file on."""
    file.parent.mkdir(exist_ok=True)
    file.unlink(missing_ok=True)
    manifest = read_json(settings.dbt_target / "manifest.json")
    started = time.perf_counter()
    with duckdb.connect(str(file)) as connection:
        connection.execute(f"set threads = {settings.threads}")
        connection.execute(f"set memory_limit = '{settings.memory_limit}'")
        connection.execute("set preserve_insertion_order = false")
        connection.execute("set timezone = 'UTC'")
        Plugin("pseudonym", {}).configure_connection(connection)
        connection.execute("create schema increment")
        connection.execute(
            "create table increment.current as"
            f" select timestamp '-infinity' as since, timestamp '{clock.date}' as as_of"
        )
        connection.execute("create macro increment.since() as timestamp '-infinity'")
        for row in run_results(settings)["results"]:
            kind = row["unique_id"].split(".")[0]
            if kind == "model":
                view = manifest["nodes"][row["unique_id"]]["config"]["materialized"] == "view"
                connection.execute(
                    f"create {'view' if view else 'table'} {row['relation_name']} as {row['compiled_code']}"
                )
            elif kind == "test":
                broken = connection.execute(f"select count(*) from ({row['compiled_code']})").fetchall()[0][0]
                assert broken == 0, row["unique_id"]
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--as-of", default="2017-12-01")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        settings = own_home(scratch)
        clock = Clock.parse(arguments.as_of, settings.label_days)
        land(settings, clock)
        builds, straight = [], []
        for turn in range(arguments.rounds):
            builds.append(timed_build(settings, clock, anew=True))
            straight.append(run_straight(settings, clock, Path(scratch, "straight", "warehouse.duckdb")))
            say(f"round {turn + 1}: dbt {builds[-1].seconds:.1f} s, DuckDB {straight[-1]:.1f} s")
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    seconds, peer = statistics.median(build.seconds for build in builds), statistics.median(straight)
    finish(
        "dbt_build",
        {
            "as_of": clock.date,
            "models": builds[0].models,
            "tests": builds[0].tests,
            "rounds": arguments.rounds,
            "dbt_seconds": round(seconds, 1),
            "dbt_seconds_without_its_start": round(statistics.median(build.dbt_seconds for build in builds), 1),
            "duckdb_seconds": round(peer, 1),
            "ratio": round(seconds / peer, 3),
            "ratio_to_limit": round(seconds / peer / LIMIT_RATIO, 3),
            "peak_bytes": peak,
            "peak_to_limit": round(peak / LIMIT_BYTES, 3),
        },
    )


if __name__ == "__main__":
    main()

"""Follow a DAG run in the terminal: a line per finished task, and a bar with the running ones."""

import time
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pipeline.airflow_api import AirflowApi

ENDED = {"success": "green", "failed": "red", "upstream_failed": "red", "skipped": "yellow", "removed": "yellow"}

POLL_SECONDS = 2  # the API server takes a tenth of a second of a core for an answer


def seconds(task: dict[str, Any]) -> float:
    """How long a task instance ran, in seconds (0 when it never started)."""
    if not task["start_date"] or not task["end_date"]:
        return 0.0
    return (datetime.fromisoformat(task["end_date"]) - datetime.fromisoformat(task["start_date"])).total_seconds()


def follow(api: AirflowApi, dag_id: str, run_id: str, console: Console) -> bool:
    """Show the run until it ends; return whether it succeeded.

    When it failed, the last log lines of each failed task are printed.
    """
    shown: set[str] = set()
    bar = Progress(
        TextColumn("[bold]{task.fields[state]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
        console=console,
    )
    with bar:
        row = bar.add_task("waiting for the scheduler", total=len(api.tasks(dag_id)), state="queued")
        while True:
            state = api.run(dag_id, run_id)["state"]
            instances = api.task_instances(dag_id, run_id)
            for task in sorted(instances, key=lambda task: task["end_date"] or ""):
                if task["state"] in ENDED and task["task_id"] not in shown:
                    shown.add(task["task_id"])
                    color = ENDED[task["state"]]
                    bar.console.print(
                        f"[{color}]{task['state']:>15}[/]  {seconds(task):7.1f} s  {task['task_id']}", highlight=False
                    )
            busy = sorted(task["task_id"] for task in instances if task["state"] == "running")
            doing = ", ".join(busy[:3]) + (f" and {len(busy) - 3} more" if len(busy) > 3 else "")
            bar.update(row, completed=len(shown), state=state, description=doing)
            if state in ("success", "failed"):
                break
            time.sleep(POLL_SECONDS)
    if state == "failed":
        for task in instances:
            if task["state"] == "failed":
                console.print(f"\n[red]{task['task_id']}[/] failed; its log ends:", highlight=False)
                for line in api.log_lines(dag_id, run_id, task["task_id"], task["try_number"]):
                    console.print(f"  {line}", markup=False, highlight=False)
    return bool(state == "success")

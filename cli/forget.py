"""``zhiyin forget``: a person leaves everything that the platform keeps, and a search proves it."""

from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cli import servers
from cli.errors import PlatformError
from pipeline.airflow_api import DAG_ID, AirflowApi
from pipeline.erasure import erasure_of
from zhiyin.erasure.erasable import Found
from zhiyin.landing.forgotten import forgotten
from zhiyin.settings import Settings
from zhiyin.store import sweep
from zhiyin.warehouse import check_idle


def forget_user(settings: Settings, user: str, dry_run: bool, console: Console) -> None:
    """Find a person by the caller's own id, erase them unless ``dry_run``, and print what was and what is left.

    Raises:
        ValueError: nobody of that id is found, or something is left.
        PlatformError, BusyError: a run is in progress.
    """
    _refuse_during_a_run(settings)
    erasure = erasure_of(settings, user)
    if not erasure.person.user_id:
        raise ValueError("say whom: the user id is empty")
    sweep(settings.home)  # what killed processes left
    before = erasure.find()
    if not before and erasure.person.mark in forgotten(settings):
        console.print(f"user {user} of {settings.dataset} is already forgotten; nothing of them is left")
        return
    if not before:
        raise ValueError(f"nothing is known of a user {user!r} of {settings.dataset} in {settings.home}")
    found = _by_place(settings, before)
    if dry_run:
        console.print(_table(f"user {user} is found in", {"found": found}), soft_wrap=True)
        return
    erasure.erase(before)
    left = _by_place(settings, erasure.find())
    console.print(_table(f"user {user}", {"found before": found, "found now": left}), soft_wrap=True)
    if left:
        raise ValueError(
            f"user {user} is still found in {', '.join(left)}: no step of the platform writes that there; free it by "
            "hand, or stop what writes it, and forget again"
        )
    console.print(
        f"user {user} of {settings.dataset} is forgotten. The next run builds the warehouse anew and learns from "
        "nothing; until it promotes a model, the champion's weights are those that were fitted with them.",
        soft_wrap=True,
    )


def _refuse_during_a_run(settings: Settings) -> None:
    if servers.running(settings, "airflow-api"):
        active = [run for run in AirflowApi(settings).runs(DAG_ID) if run["state"] in ("queued", "running")]
        if active:
            raise PlatformError(f"the run {active[0]['dag_run_id']} is in progress; forget again when it has ended")
    check_idle(settings)


def _by_place(settings: Settings, found: Found) -> Counter[str]:
    """Rows by place: what belongs together is one line."""
    places: Counter[str] = Counter()
    for place, count in found.items():
        if isinstance(place, Path):
            parts = place.relative_to(settings.home).parts
            place = "/".join(parts[: 3 if parts[0] == settings.dataset else 1])
        places[place] += count
    return places


def _table(title: str, columns: dict[str, Counter[str]]) -> Table:
    table = Table("place", *columns, title=title)
    for place in sorted(set().union(*columns.values())):
        table.add_row(place, *(f"{counts[place]:,}" for counts in columns.values()))
    return table

"""Landing: writes the raw tables of a dataset to the lake as Parquet, with the names and values of the source."""

from typing import Any

from zhiyin.clock import Clock
from zhiyin.landing.datasets import check_dataset, known_datasets, raw_tables
from zhiyin.landing.delivery import verify_lake
from zhiyin.landing.lake import land_table
from zhiyin.landing.posted import rename_posted
from zhiyin.landing.table import RawTable
from zhiyin.settings import Settings

__all__ = [
    "RawTable",
    "check_dataset",
    "known_datasets",
    "land",
    "land_table",
    "raw_tables",
    "rename_posted",
    "verify_lake",
]


def land(settings: Settings, clock: Clock) -> dict[str, Any]:
    """Write every raw table of ``settings.dataset`` to ``settings.lake``, up to ``clock.as_of``.

    A day whose content did not change is not rewritten, so landing twice changes nothing.

    Returns:
        Per table: ``{"rows": int, "files": int, "written": int, "unchanged": int, "removed": int}``.

    Raises:
        ValueError: no such dataset (the message lists those that there are), a table differs from its definition, takes
            away what has landed, or has no event before ``as_of``; or files of the lake are gone or damaged that the
            sources no longer have.
        FileNotFoundError: a source is missing; the message names it and the cure.
    """
    tables = raw_tables(settings)
    landed: dict[str, dict[str, int]] = {}
    for table in tables:
        landed[table.name] = land_table(table, settings, clock, tables).as_dict()
        if table.events and not table.posted and not landed[table.name]["rows"]:
            raise ValueError(
                f"{settings.dataset}: no row of {table.name} lies before {clock.date}; choose a later as_of"
            )
    verify_lake(settings.lake)
    return landed

"""Landing: writes the raw tables of a dataset to the lake as Parquet, with the names and values of the source."""

from typing import Any

from zhiyin.clock import Clock
from zhiyin.landing.datasets import check_dataset, known_datasets, raw_tables
from zhiyin.landing.lake import land_table
from zhiyin.landing.table import RawTable
from zhiyin.settings import Settings

__all__ = ["RawTable", "check_dataset", "known_datasets", "land", "land_table", "raw_tables"]


def land(settings: Settings, clock: Clock) -> dict[str, Any]:
    """Write every raw table of ``settings.dataset`` to ``settings.lake``, up to ``clock.as_of``.

    A day whose content did not change is not rewritten, so landing twice changes nothing.

    Returns:
        Per table: ``{"rows": int, "files": int, "written": int, "unchanged": int}``.

    Raises:
        ValueError: no such dataset (the message lists those that there are), a table differs from its definition,
            or none of its events lies before ``as_of``.
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
    return landed

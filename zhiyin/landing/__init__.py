"""Landing: the raw tables of a dataset enter the lake as Parquet, names and values as they were delivered."""

from collections.abc import Callable, Sequence
from typing import Any

from zhiyin.clock import Clock
from zhiyin.landing import complete_journey
from zhiyin.landing.lake import RawTable, land_table
from zhiyin.settings import Settings

# The first table of each holds its events.
SOURCES: dict[str, Callable[[Settings], Sequence[RawTable]]] = {"complete_journey": complete_journey.tables}


def land(settings: Settings, clock: Clock) -> dict[str, Any]:
    """Bring every raw table of ``settings.dataset`` into ``settings.lake``, up to ``clock.as_of``.

    A day that is there with the same content is left alone, so that landing twice changes nothing.

    Returns:
        Per table: ``{"rows": int, "files": int, "written": int, "unchanged": int}``.

    Raises:
        ValueError: the dataset is not a built-in one (the message lists those that are), or none of its events lies
            before ``as_of``.
        FileNotFoundError: a source file is missing; the message names it and the cure.
    """
    if settings.dataset not in SOURCES:
        raise ValueError(f"unknown dataset {settings.dataset!r}; known: {', '.join(sorted(SOURCES))}")
    events, *others = SOURCES[settings.dataset](settings)
    landed = {events.name: land_table(events, settings, clock).as_dict()}
    if not landed[events.name]["rows"]:
        raise ValueError(f"{settings.dataset}: no row of {events.name} lies before {clock.date}; choose a later as_of")
    return landed | {table.name: land_table(table, settings, clock).as_dict() for table in others}

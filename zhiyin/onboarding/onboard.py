"""Onboarding: profile a company's files, map them, write the dataset's folder, build it, and report its quality."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import duckdb

from zhiyin.clock import Clock
from zhiyin.landing import land
from zhiyin.landing.source import DATABASES, Database, Files, Source
from zhiyin.onboarding.mapping import Proposal, UnclearError, propose
from zhiyin.onboarding.moments import SourceClock
from zhiyin.onboarding.profile import Profile, connect, profile
from zhiyin.onboarding.scaffold import write_dataset
from zhiyin.recommender.recipe import run_clock
from zhiyin.settings import DATASETS, Settings
from zhiyin.store.sql import quote
from zhiyin.warehouse import build


@dataclass(frozen=True)
class Quality:
    """Counts of a built dataset's events: kept, duplicate, quarantined."""

    landed: int
    kept: int
    duplicates: int
    quarantined: dict[str, int]  # by reason
    by_type: dict[str, int]
    users: int
    items: int
    catalogue: int
    first: str
    last: str


def look(settings: Settings, places: Mapping[str, str], options: Mapping[str, str]) -> dict[str, Profile]:
    """Profile the sources by table.

    Raises:
        UnclearError: the name cannot be one, or an option is of no table.
        FileExistsError: there is such a dataset, or data of one.
        FileNotFoundError, ValueError: a source is not there, empty or unreadable.
    """
    name = settings.dataset
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UnclearError(f"{name!r} cannot be a dataset's name: lower-case letters, digits and underscores only")
    if (DATASETS / name).exists():
        raise FileExistsError(f"{DATASETS / name} is there already; remove it to start anew, or edit its models")
    if settings.data.exists():
        raise FileExistsError(f"{settings.data} holds data of an earlier {name}; remove it, or choose another name")
    if others := {key.partition(".")[0] for key in options} - set(places):
        raise UnclearError(f"--option: there is no table {', '.join(sorted(others))}; there are {', '.join(places)}")
    return {
        table: profile(
            source_at(place, {k.partition(".")[2]: v for k, v in options.items() if k.startswith(f"{table}.")})
        )
        for table, place in places.items()
    }


def source_at(place: str, options: Mapping[str, str]) -> Source:
    """A source from the command line: ``KIND:CONNECTION#TABLE`` for a database, else a file, a glob or a URL."""
    kind, _, rest = place.partition(":")
    if kind in DATABASES:
        connection, separator, table = rest.rpartition("#")
        if not separator:
            raise UnclearError(f"{kind}: say {kind}:CONNECTION#TABLE")
        return Database(kind, str(Path(connection).resolve()) if kind == "sqlite" else connection, table)
    location = place if "://" in place or place.startswith(("package:", "$")) else str(Path(place).resolve())
    given = dict(options)
    files = Files(location, given.pop("format", None), given)
    return replace(files, options={**_dialect(files), **given}) if files.kind == "csv" else files


def _dialect(files: Files) -> dict[str, str]:
    """Delimiter and quote of a CSV file, kept in the definition because a later file might be sniffed differently."""
    files.fingerprint()
    options = "".join(f", {name} = {quote(value)}" for name, value in files.options.items())
    with connect(files) as connection:
        try:
            delimiter, quoting = connection.execute(
                f"select delimiter, quote from sniff_csv({quote(files.path)}{options})"
            ).fetchall()[0]
        except duckdb.Error:
            return {}  # empty or unreadable: profiling reports it
    # Without a quoted value the quote is unknown: keep DuckDB's default.
    return {"delim": delimiter} | ({"quote": quoting} if quoting not in ("(empty)", "") else {})


def write(name: str, profiles: Mapping[str, Profile], given: Mapping[str, str], clock: SourceClock) -> Proposal:
    """Propose the mapping and write the dataset's folder.

    Raises:
        UnclearError: an answer is needed that only the engineer knows.
    """
    proposal = propose(profiles, given)
    write_dataset(DATASETS / name, profiles, proposal, clock)
    return proposal


def run(settings: Settings, as_of: str | None) -> tuple[Clock, Quality]:
    """Land and build the dataset; without ``as_of`` for the midnight after its last event."""
    clock = run_clock(settings, as_of or _after_last_event(settings))
    land(settings, clock)
    build(settings, clock)
    return clock, quality(settings)


def _after_last_event(settings: Settings) -> str:
    from zhiyin.landing import raw_tables

    days: list[date | None] = []
    for table in raw_tables(settings):
        if table.events:
            with connect(table.source) as connection:
                days += connection.execute(
                    f"select max(({table.day})::date) from {table.source.relation()}"
                ).fetchall()[0]
    return str(max(day for day in days if day is not None) + timedelta(days=1))


def quality(settings: Settings) -> Quality:
    """How many events the warehouse kept, quarantined and found twice."""
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:

        def count(sql: str) -> dict[str, int]:
            return {str(key): int(value) for key, value in connection.execute(sql).fetchall()}

        fates = count("select fate, count(*) from int_events group by all")
        deliveries = connection.execute("select sum(deliveries) from int_events").fetchall()[0][0]
        users, items, first, last = connection.execute(
            "select count(distinct user_id), count(distinct item_id), min(occurred_at), max(occurred_at)"
            " from interactions"
        ).fetchall()[0]
        return Quality(
            landed=int(deliveries),
            kept=fates.get("kept", 0),
            duplicates=int(deliveries) - sum(fates.values()),
            quarantined=count(
                "select rejected_because, count(*) from quarantined_events group by all order by 2 desc, 1"
            ),
            by_type=count("select event_type, count(*) from interactions group by all order by 2 desc, 1"),
            users=users,
            items=items,
            catalogue=connection.execute("select count(*) from items").fetchall()[0][0],
            first=str(first),
            last=str(last),
        )

"""Onboarding: profile a company's files, plan the dataset's folder, build it, and report its quality."""

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import duckdb

from zhiyin.clock import Clock
from zhiyin.landing import land
from zhiyin.landing.lakehouse import Delta, Iceberg
from zhiyin.landing.source import DATABASES, Database, Files, Source
from zhiyin.landing.topic import Topic
from zhiyin.onboarding.deliveries import Delivery, delivery_of
from zhiyin.onboarding.exclusions import NOTHING, SUGGESTED, Exclusion, chosen
from zhiyin.onboarding.findings import Finding, alike, find
from zhiyin.onboarding.mapping import Proposal, UnclearError, propose
from zhiyin.onboarding.moments import SourceClock, moments_of
from zhiyin.onboarding.profile import Profile, connect, profile
from zhiyin.onboarding.scaffold import draft
from zhiyin.recommender.recipe import run_clock
from zhiyin.settings import DATASETS, Settings
from zhiyin.store.sql import open_database, quote
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
    recent_users: int  # with an event in the label days before as_of
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
    """A source from the command line.

    ``KIND:CONNECTION#TABLE`` for a database, ``delta:PLACE``, ``kafka:SERVERS#TOPIC``, else a file, a glob or a URL. An
    Iceberg catalogue takes more than a line: ``--option events.NAME=VALUE`` are its properties.
    """
    kind, _, rest = place.partition(":")
    if kind == "delta":
        return Delta(rest if "://" in rest else str(Path(rest).resolve()), dict(options))
    if kind == "iceberg":
        return Iceberg(rest, dict(options))
    if kind == "kafka":
        servers, separator, topic = rest.rpartition("#")
        if not separator:
            raise UnclearError("kafka: say kafka:SERVERS#TOPIC")
        return Topic(servers, topic, dict(options))
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


@dataclass(frozen=True)
class Plan:
    """What onboarding would write, and what it asks before."""

    proposal: Proposal
    findings: tuple[Finding, ...]
    questions: tuple[str, ...]  # each with the flag that answers it; without an answer nothing is written
    advice: tuple[str, ...]  # the same, but onboarding goes on without an answer
    delivery: Delivery | None  # None while questions about the mapping are open
    exclusions: tuple[Exclusion, ...]
    texts: Mapping[str, str]  # the dataset's files by name; empty while questions are open


def plan(
    name: str,
    profiles: Mapping[str, Profile],
    given: Mapping[str, str],
    clock: SourceClock,
    exclude: Sequence[str] = (),
    delivery: str | None = None,
) -> Plan:
    """The mapping, what is for the engineer to decide, and all that is asked, at once; writes nothing.

    ``given``: answers about the mapping; ``exclude``: what to leave out, see zhiyin/onboarding/exclusions.py;
    ``delivery``: what the source of the events delivers, where the engineer says so.
    """
    proposal = propose(profiles, given)
    questions, advice = list(proposal.questions), list(proposal.advice)
    lost, alike_rows = alike(profiles["events"], proposal)
    findings = [*find(profiles, proposal), *alike_rows]
    proposed = [finding.exclusion for finding in findings if finding.exclusion]
    exclusions: list[Exclusion] = []
    try:
        exclusions = chosen(exclude, proposed)
    except UnclearError as unclear:
        questions.append(str(unclear))
    if proposed and not exclude:
        advice.append(
            f"exclusions are proposed ({len(proposed)}); say --exclude {SUGGESTED} for all, --exclude {NOTHING}, "
            "or the flag of each that you want"
        )
    texts: dict[str, str] = {}
    delivered = None
    try:
        if not proposal.questions:
            delivered = delivery_of(profiles["events"], proposal, delivery)
            texts = draft(name, profiles, proposal, clock, lost, exclusions, delivered)
        elif not proposal.order_only:
            moments_of(profiles["events"], proposal, clock)
    except UnclearError as unclear:
        questions.append(str(unclear))
    opened = tuple(questions)
    return Plan(proposal, tuple(findings), opened, tuple(advice), delivered, tuple(exclusions), {} if opened else texts)


@contextmanager
def attempt(settings: Settings, keep: bool) -> Iterator[None]:
    """Unless ``keep``, a failure removes the dataset's folder and its data below the home, which this attempt made."""
    try:
        yield
    except BaseException:
        if not keep:
            shutil.rmtree(DATASETS / settings.dataset, ignore_errors=True)
            shutil.rmtree(settings.data, ignore_errors=True)
        raise


def run(settings: Settings, as_of: str | None) -> tuple[Clock, Quality]:
    """Land and build the dataset; without ``as_of`` for the midnight after its last event."""
    clock = run_clock(settings, as_of or _after_last_event(settings))
    land(settings, clock)
    build(settings, clock)
    return clock, quality(settings, clock)


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


def quality(settings: Settings, clock: Clock) -> Quality:
    """How many events the warehouse kept, quarantined and found twice."""
    with open_database(settings.warehouse, read_only=True) as connection:

        def count(sql: str) -> dict[str, int]:
            return {str(key): int(value) for key, value in connection.execute(sql).fetchall()}

        fates = count("select fate, count(*) from int_events group by all")
        deliveries = connection.execute("select sum(deliveries) from int_events").fetchall()[0][0]
        users, recent, items, first, last = connection.execute(
            "select count(distinct user_id), count(distinct user_id) filter (where occurred_at >= $1),"
            " count(distinct item_id), min(occurred_at), max(occurred_at) from interactions",
            [clock.evaluation_cut.replace(tzinfo=None)],
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
            recent_users=recent,
            items=items,
            catalogue=connection.execute("select count(*) from items").fetchall()[0][0],
            first=str(first),
            last=str(last),
        )

"""What a person would see in the data, for the engineer to decide: each with a figure and the flag that answers it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import duckdb

from zhiyin.landing.headers import other_columns
from zhiyin.onboarding.exclusions import Exclusion
from zhiyin.onboarding.mapping import Proposal
from zhiyin.onboarding.names import NOBODY, SERVICE, SERVICE_WORDS
from zhiyin.onboarding.profile import Column, Profile, connect, typed
from zhiyin.store.sql import quote

SENTINEL_SHARE = 0.02  # of all events: a user with as many, and so many times a usual user's, may be nobody
SENTINEL_TIMES = 50
NOBODY_SHARE, NOBODY_TIMES = 0.002, 5  # the same of an id that says so, such as guest or 0000
MOST_SERVICES = 0.1  # of the catalogue: above it these words are the trade itself
SHOWN = 15
CODE = r"[A-Za-z]{0,4}[-_ ./#]?[0-9][A-Za-z0-9-_./#]*|[0-9a-f]{16,}"
CODES_SHARE = 0.8


@dataclass(frozen=True)
class Finding:
    """One thing to decide; ``exclusion``: what is proposed, where something is."""

    words: str
    flag: str
    exclusion: Exclusion | None = None


def find(profiles: Mapping[str, Profile], proposal: Proposal) -> list[Finding]:
    """Look at the mapped sources."""
    events, items = proposal.columns["events"], proposal.columns["items"]
    found: list[Finding] = []
    with connect(*(profile.source for profile in profiles.values())) as connection:
        if "user_id" in events:
            found += _sentinels(connection, profiles["events"], events["user_id"])
        if {"item_id", "title"} <= set(items):
            found += _services(connection, profiles, proposal)
            found += _codes(connection, profiles["items"], items["title"])
        found += _constants(profiles, proposal)
        found += _one_price(connection, profiles["events"], events)
        for profile in profiles.values():
            if told := other_columns(connection, profile.source):  # JSON lines, where DuckDB reads on
                found.append(Finding(told, f"mend {profile.source}"))
    return found


def _sentinels(connection: duckdb.DuckDBPyConnection, profile: Profile, user: Column) -> Iterator[Finding]:
    rows = connection.execute(
        f"with users as (select {user.sql}::varchar as id, count(*) as events from {profile.source.relation()}"
        f" where {user.sql} is not null group by all)"
        " select id, events / sum(events) over () as share, events / median(events) over () as times,"
        f" regexp_matches(trim(lower(id)), {quote(NOBODY)}) as nobody from users"
        f" qualify share >= {SENTINEL_SHARE} and times >= {SENTINEL_TIMES}"
        f" or nobody and share >= {NOBODY_SHARE} and times >= {NOBODY_TIMES}"
        f" order by share desc, id limit {SHOWN}"
    ).fetchall()
    for name, share, times, nobody in rows:
        words = f"user {name} has {share:.1%} of all events, {times:,.0f} times a usual user's"
        because = f"a user of {share:.0%} of all events" if not nobody else "nobody's id"
        exclusion = Exclusion("users", because, id=name.strip())
        yield Finding(words, exclusion.flag, exclusion)


def _services(
    connection: duckdb.DuckDBPyConnection, profiles: Mapping[str, Profile], proposal: Proposal
) -> Iterator[Finding]:
    """Departments, categories and single items whose short names say that they are no goods."""
    items, events = proposal.columns["items"], proposal.columns["events"]
    counted = "select null::varchar as id, 0 as events where false"
    if "item_id" in events:
        counted = f"select trim({events['item_id'].sql}::varchar) as id, count(*) as events"
        counted += f" from {profiles['events'].source.relation()} group by all"
    names = {part: _cleaned(items[part]) for part in ("department", "category", "title") if part in items}
    whens = [f"when {_is_service(name)} then {{'part': '{part}', 'name': {name}}}" for part, name in names.items()]
    named = f"select {_cleaned(items['item_id'])} as id, case {' '.join(whens)} end as service"
    named += f" from {profiles['items'].source.relation()} qualify row_number() over (partition by id) = 1"
    rows = connection.execute(
        f"with events as ({counted}), named as ({named})"
        " select service.part, service.name, count(*), any_value(named.id), coalesce(sum(events), 0) as taken,"
        " (select sum(events) from events), sum(count(*)) over ()"
        " from named left join events on named.id = events.id where service is not null and named.id is not null"
        " group by service order by taken desc, service.name"
    ).fetchall()
    if not rows or rows[0][-1] > MOST_SERVICES * profiles["items"].rows:
        return
    for part, name, count, one, taken, total, _ in rows:
        if part == "title" and count == 1:
            who, exclusion = f"item {one}, {name!r}", Exclusion("items", "service line", id=one)
        else:
            who = f"{part} {name!r} of {count:,} items"
            exclusion = Exclusion("items", "service line", where=f"{part} = {quote(name)}")
        yield Finding(f"{who}, may be no goods; {taken / (total or 1):.2%} of all events", exclusion.flag, exclusion)


def _cleaned(column: Column) -> str:
    """SQL of a text as staging cleans it."""
    return f"trim(regexp_replace({column.sql}::varchar, '\\s+', ' ', 'g'))"


def _is_service(name: str) -> str:
    words = f"len(string_split({name}, ' ')) <= {SERVICE_WORDS}"
    return f"regexp_matches(lower({name}), {quote(SERVICE)}) and {words} and not regexp_matches({name}, '[>|;]')"


def _codes(connection: duckdb.DuckDBPyConnection, profile: Profile, title: Column) -> Iterator[Finding]:
    def share(column: Column) -> float:
        name = f"trim({column.sql}::varchar)"
        return float(
            connection.execute(
                f"select coalesce(count(*) filter (where regexp_full_match({name}, {quote(CODE)})) / count({name}), 0)"
                f" from {profile.source.relation()}"
            ).fetchall()[0][0]
        )

    codes = share(title)
    if codes < CODES_SHARE:
        return
    others = [column for column in profile.columns if column.type == "VARCHAR" and column.name != title.name]
    better = [other.name for other in others if other.distinct > profile.rows / 2 and share(other) < 1 - CODES_SHARE]
    yield Finding(
        f"items.title: {codes:.0%} of the names in {title.name} are codes, such as {', '.join(title.samples[:3])}; "
        "reasons and text models need words",
        f"--map items.title={better[0] if better else 'COLUMN'}",
    )


def _constants(profiles: Mapping[str, Profile], proposal: Proposal) -> Iterator[Finding]:
    for table, columns in proposal.columns.items():
        for part, column in columns.items():
            if profiles[table].rows < 2 or column.distinct > 1 or part in ("event_type", "user_id", "item_id"):
                continue
            value = f"{column.samples[0]} alone" if column.samples else "no value at all"
            partly = f", and is empty in {column.empty:,} rows" if column.samples and column.empty else ""
            yield Finding(f"{table}.{part}: {column.name} holds {value}{partly}", f"--map {table}.{part}=")


def _one_price(
    connection: duckdb.DuckDBPyConnection, profile: Profile, events: Mapping[str, Column]
) -> Iterator[Finding]:
    """The price of a piece is the same in all lines, though amounts differ."""
    if not {"value", "amount"} <= set(events) or events["amount"].distinct < 2:
        return
    value, amount = (f"try_cast({events[part].sql} as double)" for part in ("value", "amount"))
    prices, price = connection.execute(
        f"select count(distinct round({amount} / {value}, 4)), any_value(round({amount} / {value}, 4))"
        f" from {typed(profile.source).relation()} where {value} > 0 and {amount} is not null"
    ).fetchall()[0]
    if prices == 1:
        yield Finding(f"events.amount: every piece costs {price:g}: prices tell nothing", "--map events.amount=")


def differing(profile: Profile, proposal: Proposal) -> tuple[int, list[str]]:
    """How many rows share what makes an event with another row, and differ from it; and by which parts.

    Where the source has ids of events: rows of one user and id. Else: rows that differ in a number alone.
    """
    events = proposal.columns["events"]
    names = {part: column.sql for part, column in events.items()}
    numbers = [part for part in ("value", "amount", "unit_price", "discount") if part in names]
    if "event_id" in names:
        key = [part for part in ("user_id", "event_id", "ingested_at") if part in names]
        rest = [part for part in names if part not in key]
    else:
        key, rest = [part for part in names if part not in numbers], numbers
    if not rest or not {"user_id", "item_id"} <= set(names):
        return 0, rest
    one, both = (", ".join(names[part] for part in parts) for parts in (key, key + rest))
    relation = profile.source.relation()
    with connect(profile.source) as connection:
        lost = connection.execute(
            f"select (select count(*) from (select distinct {both} from {relation}))"
            f" - (select count(*) from (select distinct {one} from {relation}))"
        ).fetchall()[0][0]
    return int(lost), rest


def alike(profile: Profile, proposal: Proposal) -> tuple[int, list[Finding]]:
    """Rows that would count as one event though they differ, and what is done about them, in words."""
    lost, parts = differing(profile, proposal)
    events = proposal.columns["events"]
    if not lost:
        return 0, []
    if "event_id" in events:
        words = f"{lost:,} of the rows share {events['event_id'].name} with another row of their user, and differ: "
        return lost, [Finding(words + "one of each counts", "--map events.event_id=")]
    columns = ", ".join(events[part].name for part in parts)
    words = f"{lost:,} of the rows differ from another in {columns} alone; each counts: these are part of an event's id"
    return lost, [Finding(words, "for corrections, of which the latest counts: --map events.ingested_at=COLUMN")]

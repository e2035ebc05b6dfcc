"""The folder of a new dataset: source definition and staging models, written from a mapping, for people to edit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import yaml

from zhiyin.landing.source import Database, Source
from zhiyin.onboarding.mapping import Proposal, UnclearError
from zhiyin.onboarding.profile import Column, Profile, connect
from zhiyin.settings import DATASETS
from zhiyin.store import atomic_folder
from zhiyin.store.sql import quote

BROKEN_SHARE = 0.05  # above this share of unreadable moments the expression is not the right one
EPOCHS = ((1e11, 1_000_000), (1e14, 1_000), (1e17, 1))  # largest number of seconds, milli- and microseconds -> factor


@dataclass(frozen=True)
class SourceClock:
    """How the moments of a source are to be read.

    Raises:
        UnclearError: DuckDB knows no such zone, moment or interval.
    """

    time_format: str | None = None  # of strptime
    time_zone: str = "UTC"  # of moments without a time zone
    epoch: str = "2000-01-01"  # of position 0
    step: str = "1 day"  # between two positions

    def __post_init__(self) -> None:
        for flag, value, sql, cure in (
            ("--time-zone", self.time_zone, "timestamp '2000-01-01' at time zone {}", "a zone such as Europe/Berlin"),
            ("--epoch", self.epoch, "timestamp {}", "a moment such as 2000-01-01"),
            ("--step", self.step, "interval {}", "an interval such as '12 hours'"),
        ):
            try:
                with duckdb.connect() as connection:
                    connection.execute(f"select {sql.format(quote(value))}")
            except duckdb.Error:
                raise UnclearError(f"{flag} {value!r} is not known; say {cure}") from None


def moment(source: Source, column: Column, clock: SourceClock, part: str) -> str:
    """SQL of a column's UTC moments, tried on the source.

    Raises:
        UnclearError: too many values cannot be read; the message has an example and the flag.
    """
    with connect(source) as connection:
        relation = source.relation()
        kind, *_ = connection.execute(f"select typeof({column.sql}) from {relation} limit 1").fetchall()[0]
        if clock.time_format:
            expression = f"try_strptime({column.sql}::varchar, {quote(clock.time_format)})"
        elif kind == "TIMESTAMP WITH TIME ZONE":
            return f"{column.sql} at time zone 'UTC'"
        elif kind.startswith("TIMESTAMP") or kind == "DATE":
            expression = f"{column.sql}::timestamp"
        else:
            expression, done = _text_moment(connection, relation, column)
            if done:
                return expression
        if clock.time_zone != "UTC":
            expression = f"({expression} at time zone {quote(clock.time_zone)}) at time zone 'UTC'"
        broken, rows, example = connection.execute(
            f"select count(*) filter (where ({expression}) is null), count(*),"
            f" any_value({column.sql}::varchar) filter (where ({expression}) is null) from {relation}"
        ).fetchall()[0]
    if broken > BROKEN_SHARE * rows:
        raise UnclearError(
            f"events.{part}: {broken} of {rows} values of {column.name} are no moment, such as {example!r}; say how "
            "they are written, such as --time-format '%d/%m/%Y %H:%M', or name another column"
        )
    return expression


def _text_moment(connection: Any, relation: str, column: Column) -> tuple[str, bool]:
    """SQL of a moment that came as text or number, and whether it is UTC already."""
    number = f"try_cast({column.sql} as double)"
    largest, numbers, zoned, rows = connection.execute(
        f"select max({number}), count({number}), count(*) filter (where"
        f" regexp_matches({column.sql}::varchar, ':\\d\\d(\\.\\d+)?(Z|[+-]\\d\\d(:?\\d\\d)?)$')), count({column.sql})"
        f" from {relation}"
    ).fetchall()[0]
    if numbers > (1 - BROKEN_SHARE) * rows and largest > 1e8:
        factor = next((factor for limit, factor in EPOCHS if largest < limit), None)
        if factor is not None:
            return f"make_timestamp(({number} * {factor})::bigint)", True
    if zoned > (1 - BROKEN_SHARE) * rows:
        return f"try_cast({column.sql} as timestamptz) at time zone 'UTC'", True
    return f"try_cast({column.sql} as timestamp)", False


def write_dataset(
    folder: Path, profiles: Mapping[str, Profile], proposal: Proposal, clock: SourceClock
) -> dict[str, str]:
    """Write the folder of the dataset, whole; return its files' texts by name.

    Raises:
        FileExistsError: the folder is there; files that an engineer edited are not overwritten.
        UnclearError: moments cannot be read.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} is there already; remove it to start anew, or edit its models")
    name = folder.name
    occurred_at = _occurred_at(profiles["events"], proposal, clock)
    texts = {
        "_sources.yml": _sources(name, profiles, proposal, occurred_at),
        f"stg_{name}__events.sql": _events(name, profiles["events"], proposal, clock, occurred_at),
        f"stg_{name}__items.sql": _items(name, proposal, profiles["events"], occurred_at),
        f"stg_{name}__users.sql": _users(name, proposal) if "users" in profiles else "{{ no_users() }}\n",
        f"stg_{name}__promotions.sql": "{{ no_promotions() }}\n",
        f"stg_{name}__offers.sql": "{{ no_offers() }}\n",
        "words.toml": WORDS.format(name=name),
    }
    for part, grain in GRAINS.items():
        texts[f"stg_{name}__{part}.yml"] = _model_yaml(name, part, grain)
    with atomic_folder(folder) as temporary:
        for file, text in texts.items():
            (temporary / file).write_text(text)
    return texts


WORDS = """# How reasons and the page speak of {name}: see zhiyin/language/words.py. Uncomment a line to set it.
# user = "user"
# item = "item"
# basket = "basket"
# currency = "EUR"
# promotion = "on promotion in {{reach}} of the places"
"""

GRAINS = {
    "events": "One row per delivered event.",
    "items": "One row per item of the catalogue.",
    "users": "One row per user of whom the source knows something.",
    "promotions": "One row per promotion; the source has none.",
    "offers": "One row per offer; the source has none.",
}


RULES: dict[str, dict[str, list[str]]] = {
    "events": {"rules": ["event_id is not null", "source is not null"]},
    "items": {"rules": ["title is not null"], "grain": ["item_id"]},
    "users": {"grain": ["user_id"]},
    "promotions": {"rules": ["item_id is not null"]},
    "offers": {"rules": ["user_id is not null"]},
}


def _occurred_at(profile: Profile, proposal: Proposal, clock: SourceClock) -> str:
    events = proposal.columns["events"]
    if "occurred_at" in events:
        return moment(profile.source, events["occurred_at"], clock, "occurred_at")
    position = events["position"]
    return f"timestamp {quote(clock.epoch)} + try_cast({position.sql} as bigint) * interval {quote(clock.step)}"


def _sources(name: str, profiles: Mapping[str, Profile], proposal: Proposal, occurred_at: str) -> str:
    tables: list[dict[str, Any]] = []
    for table, profile in profiles.items():
        land: dict[str, Any] = _location(profile.source)
        config: dict[str, Any] = {"meta": {"land": land}}
        if table == "events":
            config["event_time"] = occurred_at
            land["events"] = True
            land["event_types"] = sorted(
                {proposal.event_type} if proposal.event_type else {*proposal.event_types.values()}
            )
        if "user_id" in proposal.columns[table]:
            land["user"] = proposal.columns[table]["user_id"].sql
        columns = [
            {"name": column.name, "description": f"{part} of the data contract."}
            | ({"data_type": "double"} if part in ("value", "amount", "discount", "price") else {})
            for part, column in proposal.columns[table].items()
        ]
        description = f"{profile.rows} rows when it was first looked at."
        tables.append({"name": table, "description": description, "config": config, "columns": columns})
    source = {
        "name": name,
        "description": f"The source tables of {name}, as they were landed in the lake.",
        "config": {"external_location": "{{ env_var('ZHIYIN_LAKE') }}/{name}/**/part-0.parquet", "freshness": None},
        "tables": tables,
    }
    return str(yaml.safe_dump({"version": 2, "sources": [source]}, sort_keys=False, width=118, allow_unicode=True))


def _location(source: Source) -> dict[str, Any]:
    if isinstance(source, Database):
        return {"database": {"kind": source.kind, "connect": source.connect, "table": source.table}}
    location: dict[str, Any] = {"location": source.location}
    if source.format:
        location["format"] = source.format
    if source.options:
        location["options"] = dict(source.options)
    return location


def _model_yaml(name: str, part: str, grain: str) -> str:
    """The columns as the contract describes them, and the rules that the part keeps whatever is delivered."""
    contract = DATASETS.parent / "models" / "contract" / f"contract_{part}.yml"
    (model,) = yaml.safe_load(contract.read_text())["models"]
    rules = {"name": f"stg_{name}__{part}_keeps_its_rules", "arguments": RULES[part]}
    columns = [{key: column[key] for key in ("name", "description")} for column in model["columns"]]
    staged = {"name": f"stg_{name}__{part}", "description": grain, "data_tests": [{"holds": rules}], "columns": columns}
    return str(yaml.safe_dump({"version": 2, "models": [staged]}, sort_keys=False, width=118, allow_unicode=True))


def _select(groups: Sequence[tuple[str, Sequence[tuple[str, str]]]]) -> str:
    """A select list in groups of columns: ``expression as name``, or the name alone where they are the same."""
    lines = []
    for title, columns in groups:
        lines.append(f"    -- {title}")
        lines += [f"    {name if sql == name else f'{sql} as {name}'}," for name, sql in columns]
        lines.append("")
    last = max(index for index, line in enumerate(lines) if line.endswith(","))
    lines[last] = lines[last].removesuffix(",")
    return "\n".join(lines[:-1])


def _text(columns: Mapping[str, Column], part: str) -> str:
    return f"{{{{ clean('{_escaped(columns[part])}') }}}}" if part in columns else "null::varchar"


def _escaped(column: Column) -> str:
    return _quoted(column.sql)


def _quoted(sql: str) -> str:
    """SQL inside of a string of Jinja."""
    return sql.replace("\\", "\\\\").replace("'", "\\'")


def _number(columns: Mapping[str, Column], part: str, kind: str) -> str:
    return f"try_cast({columns[part].sql} as {kind})" if part in columns else f"null::{kind}"


def _events(name: str, profile: Profile, proposal: Proposal, clock: SourceClock, occurred_at: str) -> str:
    events = proposal.columns["events"]
    if "value" not in events and "rating" in (proposal.event_type, *proposal.event_types.values()):
        raise UnclearError("events.value: ratings need their number; say --map events.value=COLUMN")
    ingested_at = "null::timestamp"
    if "ingested_at" in events:
        ingested_at = moment(profile.source, events["ingested_at"], clock, "ingested_at")
    key = ["user_id", "item_id", "event_type", "occurred_at"]
    key += [part for part in ("basket_id", "session_id", "query_text") if part in events]
    event_id, source_row = f"{{{{ event_id({key}) }}}}", "concat_ws('/', basket_id, item_id, occurred_at)"
    if "event_id" in events:
        event_id, source_row = "md5(source_row)", "source_row"
    read = [
        ("raw_user", _text(events, "user_id")),
        ("item_id", _text(events, "item_id")),
        ("basket_id", _text(events, "basket_id")),
        ("session_id", _text(events, "session_id")),
        ("event_type", _event_type(proposal)),
        ("value", _number(events, "value", "double") if "value" in events else "1::double"),
        ("amount", _number(events, "amount", "decimal(12, 2)")),
        ("discount", _number(events, "discount", "decimal(12, 2)")),
        ("query_text", _text(events, "query_text")),
        ("occurred_at", occurred_at),
        ("ingested_at", ingested_at),
        *([("source_row", _text(events, "event_id"))] if "event_id" in events else []),
    ]
    numbers = {
        part: (events[part].sql, sql)
        for part, sql in read
        if part in ("value", "amount", "discount") and part in events
    }
    if numbers:
        fields = ", ".join(
            f"'{part}': ('{_quoted(held)}', '{_quoted(number)}')" for part, (held, number) in numbers.items()
        )
        read.append(("unreadable", f"{{{{ unreadable({{{fields}}}) }}}}"))
    inner = ",\n".join(f"        {sql} as {alias}" for alias, sql in read)
    groups = [
        ("ids", [("event_id", event_id), ("source_row", source_row), ("user_id", "user_id"), ("item_id", "item_id"),
                 ("basket_id", "basket_id"), ("session_id", "session_id")]),
        ("facts", [("event_type", "event_type"),
                   ("value", "value"), ("amount", "amount"),
                   ("discount", "discount"), ("query_text", "query_text"), ("source", quote(name)),
                   ("unreadable", "unreadable" if numbers else "null::varchar")]),
        ("timestamps", [("occurred_at", "occurred_at"), ("ingested_at", "ingested_at")]),
    ]  # fmt: skip
    title = ""
    if "occurred_at" not in events:
        title = f"-- The source knows an order only: a position counts as {clock.step} after {clock.epoch}.\n"
    return f"""{title}with source as (

    select * from {{{{ source('{name}', 'events') }}}}

),

events as (

    select
{inner}
    from source

),

-- Raw user ids end here.
pseudonyms as materialized (

    {{{{ pseudonyms("events", "raw_user") }}}}

),

pseudonymised as (

    select
        events.*,
        pseudonyms.user_id
    from events
    left join pseudonyms on events.raw_user = pseudonyms.raw_user

)

select
{_select(groups)}
from pseudonymised
"""


def _event_type(proposal: Proposal) -> str:
    if proposal.event_type is not None:
        return quote(proposal.event_type)
    column = proposal.columns["events"]["event_type"].sql
    cases = (f"            when {quote(value)} then {quote(kind)}" for value, kind in proposal.event_types.items())
    return "\n".join([f"case {column}::varchar", *cases, f"            else {column}::varchar", "        end"])


def _items(name: str, proposal: Proposal, profile: Profile, occurred_at: str) -> str:
    items = proposal.columns["items"]
    available = f"coalesce(try_cast({items['available'].sql} as boolean), true)" if "available" in items else "true"
    with connect(profile.source) as connection:
        first = connection.execute(f"select min({occurred_at})::date from {profile.source.relation()}").fetchall()[0][0]
    levels = [_text(items, part) for part in ("department", "category") if part in items]
    path = f"concat_ws(' > ', {', '.join(levels)})" if levels else "null::varchar"
    groups = [
        ("ids", [("item_id", "item_id")]),
        ("texts", [("title", "coalesce(title, item_id)"), ("description", "description"),
                   ("document", "lower(concat_ws(', ', coalesce(title, item_id), brand, "
                                "array_to_string(levels, ', '), description))")]),
        ("attributes", [("category_path", "nullif(array_to_string(levels, ' > '), '')"), ("department", "levels[1]"),
                        ("category", "coalesce(levels[2], levels[1])"), ("brand", "brand"), ("price", "price"),
                        ("attributes", "null::varchar"), ("image_url", "image_url"), ("available", "available"),
                        ("excluded_because", "null::varchar")]),
        ("timestamps: the catalogue is undated, so it holds from the first day of the data",
         [("valid_from", f"timestamp {quote(first)}")]),
    ]  # fmt: skip
    return f"""with source as (

    select * from {{{{ source('{name}', 'items') }}}}

),

items as (

    select
        {_text(items, "item_id")} as item_id,
        {_text(items, "title")} as title,
        {_text(items, "description")} as description,
        {_text(items, "brand")} as brand,
        {path} as path,
        nullif(greatest({_number(items, "price", "double")}, 0), 0) as price,
        {_text(items, "image_url")} as image_url,
        {available} as available
    from source

),

-- An item that is delivered twice is taken once.
known as (

    select
        *,
        {{{{ levels('path') }}}} as levels
    from items
    where item_id is not null
    qualify row_number() over (partition by item_id order by title, description, price) = 1

)

select
{_select(groups)}
from known
"""


def _users(name: str, proposal: Proposal) -> str:
    users = proposal.columns["users"]
    age_band = _text(users, "age_band")
    if "age" in users and "age_band" not in users:
        age_band = f"{{{{ age_band('try_cast({_escaped(users['age'])} as integer)') }}}}"
    order = ", ".join(column.sql for column in users.values())
    parts = ["gender", "region", "income_band", "occupation", "household_size", "kids_count", "home_ownership"]
    groups = [
        ("ids", [("user_id", f"pseudonym({_text(users, 'user_id')})")]),
        ("attributes", [("age_band", age_band), *((part, _text(users, part)) for part in [*parts, "marital_status"]),
                        ("attributes", "null::varchar")]),
        ("timestamps: undated, so true from the first day of the data", [("valid_from", "null::timestamp")]),
    ]  # fmt: skip
    return f"""with source as (

    select * from {{{{ source('{name}', 'users') }}}}

)

select
{_select(groups)}
from source
where {_text(users, "user_id")} is not null
qualify row_number() over (partition by {_text(users, "user_id")} order by {order}) = 1
"""

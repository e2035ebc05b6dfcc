"""Point-in-time joins: for each (key, moment) the latest row at or before it, of every view of a service.

Feast's own join pairs every moment with a key's whole history before it keeps the latest row. ``join_query`` gives
the same rows by an ASOF JOIN over the same sources, built from the registry's definition of each view: key, timestamp,
time to live, created timestamp, features and their types. Tests compare the two on every column.

A row counts at a moment when its timestamp is not after it; when, in a view with a time to live, the moment is at most
that long after it; and when, in a view with a created timestamp, it was known by then. Of rows with one timestamp the
one created last counts.
"""

import warnings
from datetime import timedelta
from typing import Any

import duckdb
import pyarrow as pa
from feast import FeatureService, FeatureStore, FeatureView, FileSource
from feast.types import (
    Array,
    Bool,
    FeastType,
    Float32,
    Float64,
    Int32,
    Int64,
    String,
    UnixTimestamp,
    from_feast_to_pyarrow_type,
)

from zhiyin.contract import FEATURE_AT
from zhiyin.settings import Settings
from zhiyin.store import encryption
from zhiyin.store.sql import connect as unlocked

DUCKDB_TYPES: dict[FeastType, str] = {
    String: "varchar",
    Int32: "integer",
    Int64: "bigint",
    Float64: "double",
    Float32: "float",
    Bool: "boolean",
    UnixTimestamp: "timestamptz",
}


def connect(settings: Settings) -> duckdb.DuckDBPyConnection:
    """DuckDB with our threads and memory limit; it spills beside the features, and timestamps are UTC."""
    connection = unlocked(settings, **_limits(settings))
    connection.execute("set enable_progress_bar = false")  # it would fill the logs
    return connection


def _limits(settings: Settings) -> dict[str, Any]:
    spill = settings.features / "spill"
    spill.mkdir(parents=True, exist_ok=True)
    return {"threads": settings.threads, "memory_limit": settings.memory_limit, "temp_directory": str(spill)}


def _bound_ibis(settings: Settings) -> None:
    """The same limits for Feast, which reads in this process's default backend of ibis."""
    import ibis  # of no use to a service

    warnings.filterwarnings("ignore", "fetch_arrow_table", DeprecationWarning)  # ibis 12 with DuckDB 2
    backend = ibis.duckdb.connect(**_limits(settings))
    encryption.unlock(backend.con)
    ibis.set_backend(backend)


def state_schema(service: FeatureService, key: str) -> pa.Schema:
    """Columns of a joined table: key, ``feature_at``, then the features, view by view."""
    features = [
        (feature.name, from_feast_to_pyarrow_type(feature.dtype))
        for projection in service.feature_view_projections
        for feature in projection.features
    ]
    return pa.schema([(key, pa.string()), (FEATURE_AT, pa.timestamp("us", tz="UTC")), *features])


def join_query(store: FeatureStore, service: FeatureService, key: str, spine: str) -> str:
    """SQL of the state of every row of ``spine``, a table with columns ``key`` and ``feature_at`` (with time zone).

    The session's time zone must be UTC: sources without a zone are in UTC.
    """
    columns = [f"spine.{key}", f"spine.{FEATURE_AT}"]
    joins = ""
    for number, projection in enumerate(service.feature_view_projections):
        view, name = store.get_feature_view(projection.name), f"view{number}"
        for feature in projection.features:
            column = f'cast({name}."{feature.name}" as {duckdb_type(feature.dtype)})'
            if view.ttl and not _created(view):
                column = f"case when spine.{FEATURE_AT} <= {name}.valid_until then {column} end"
            columns.append(f'{column} as "{feature.name}"')
        joins += _late_join(view, key, spine, name) if _created(view) else _asof_join(view, key, name)
    return f"select {', '.join(columns)} from {spine} as spine {joins}"


def source_query(view: FeatureView) -> str:
    """SQL of a view's source: its key and features as they are, ``known_from``, and where it has them ``created`` and
    ``valid_until``."""
    source = file_source(view)
    at = f'"{source.timestamp_field}"::timestamptz'
    names = [f'"{name}"' for name in (*view.join_keys, *(feature.name for feature in view.features))]
    names.append(f"{at} as known_from")
    if _created(view):
        names.append(f'"{source.created_timestamp_column}"::timestamptz as created')
    if view.ttl:
        names.append(f"{at} + to_microseconds({view.ttl // timedelta(microseconds=1)}) as valid_until")
    return f"select {', '.join(names)} from read_parquet({quoted(source.path)})"


def _asof_join(view: FeatureView, key: str, name: str) -> str:
    return (
        f" asof left join ({source_query(view)}) as {name}"
        f" on spine.{key} = {name}.{key} and spine.{FEATURE_AT} >= {name}.known_from"
    )


def _late_join(view: FeatureView, key: str, spine: str, name: str) -> str:
    """An ASOF JOIN knows one inequality, and such a view has two."""
    alive = f" and moments.{FEATURE_AT} <= source.valid_until" if view.ttl else ""
    return (
        f" left join ("
        f"select source.*, moments.{FEATURE_AT} from (select distinct {key}, {FEATURE_AT} from {spine}) as moments"
        f" join ({source_query(view)}) as source on source.{key} = moments.{key}"
        f" and source.known_from <= moments.{FEATURE_AT} and source.created <= moments.{FEATURE_AT}{alive}"
        f" qualify row_number() over (partition by moments.{key}, moments.{FEATURE_AT}"
        f" order by source.known_from desc, source.created desc) = 1"
        f") as {name} on spine.{key} = {name}.{key} and spine.{FEATURE_AT} = {name}.{FEATURE_AT}"
    )


def latest_query(view: FeatureView) -> str:
    """SQL of the latest row of each key whose moment lies in (``$after``, ``$until``].

    The rows are found by key and moment first, so that long histories do not go through a sort.
    """
    key = view.join_keys[0]
    order = "(known_from, created)" if _created(view) else "known_from"
    known = " and created <= $until" if _created(view) else ""
    window = f"known_from > $after and known_from <= $until{known}"
    return (
        f"with source as ({source_query(view)})"
        f" select source.* from source join"
        f" (select {key}, max({order}) as latest from source where {window} group by {key}) as newest"
        f" on source.{key} = newest.{key} and {order.replace('known_from', 'source.known_from')} = newest.latest"
        f" where {window}"
    )


def join_by_feast(
    settings: Settings, store: FeatureStore, service: FeatureService, key: str, spine: pa.Table
) -> pa.Table:
    """The rows of ``join_query`` by Feast itself, in memory, sorted by key and moment."""
    _bound_ibis(settings)
    entities = spine.select([key, FEATURE_AT]).to_pandas().rename(columns={FEATURE_AT: "event_timestamp"})
    job = store.get_historical_features(entities, service, filter_by_created_timestamp=True)
    table = job.to_arrow().rename_columns({"event_timestamp": FEATURE_AT})
    schema = state_schema(service, key)
    return table.select(schema.names).cast(schema).sort_by([(key, "ascending"), (FEATURE_AT, "ascending")])


def duckdb_type(dtype: FeastType) -> str:
    return f"{DUCKDB_TYPES[dtype.base_type]}[]" if isinstance(dtype, Array) else DUCKDB_TYPES[dtype]


def file_source(view: FeatureView) -> FileSource:
    source = view.batch_source
    if not isinstance(source, FileSource):
        raise TypeError(f"{view.name}: expected a file as source, got {type(source).__name__}")
    return source


def quoted(path: str) -> str:
    return "'" + path.replace("'", "''") + "'"


def _created(view: FeatureView) -> bool:
    return bool(file_source(view).created_timestamp_column)

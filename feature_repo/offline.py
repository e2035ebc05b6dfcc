"""User and item states, point in time: what a model may know at each snapshot, joined by Feast."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast import FeatureStore
from feast.types import from_feast_to_pyarrow_type

from feature_repo.definitions import ITEM_STATE, USER_STATE
from feature_repo.store import open_run
from zhiyin.clock import Clock
from zhiyin.contract import FEATURE_AT, ITEM_ID, ITEMS, USER_ID, USERS
from zhiyin.settings import Settings
from zhiyin.store import atomic_folder, write_manifest
from zhiyin.warehouse import Marts

# Feast joins a key's whole history before it keeps the latest row, so memory grows with the keys of one call.
KEYS_PER_JOIN = 25_000

# file, feature service, key, mart that lists every key
STATES = (("users", USER_STATE, USER_ID, USERS), ("items", ITEM_STATE, ITEM_ID, ITEMS))


def read_offline(settings: Settings, clock: Clock) -> Path:
    """Read the state of every user and every item at each of ``clock.snapshots``.

    Returns:
        ``settings.states/<date>`` with ``users.parquet`` (user_id x feature_at) and ``items.parquet``
        (item_id x feature_at): every feature of the entity under its own name, null where nothing is known, timestamps
        in UTC; sorted by key and moment. Replaced whole when it is read again.

    Raises:
        ValueError: the published marts stand at another moment than ``clock.as_of``, or were not applied.
    """
    store, marts = open_run(settings, clock)
    folder = settings.states / clock.date
    with atomic_folder(folder, replace=True) as temporary:
        rows = {}
        for name, service, key, mart in STATES:
            path = temporary / f"{name}.parquet"
            with pq.ParquetWriter(path, state_schema(store, service, key), compression="zstd") as writer:
                for table in _states(store, service, key, _keys(marts, mart, key), clock.snapshots):
                    writer.write_table(table)
            rows[name] = pq.read_metadata(path).num_rows
        write_manifest(temporary, as_of=clock.as_of.isoformat(), marts=marts.version, rows=rows)
    return folder


def _keys(marts: Marts, mart: str, key: str) -> list[str]:
    return sorted(pq.read_table(marts.path(mart), columns=[key])[key].to_pylist())


def _states(
    store: FeatureStore, service: str, key: str, keys: list[str], moments: tuple[datetime, ...]
) -> Iterator[pa.Table]:
    for first in range(0, len(keys), KEYS_PER_JOIN):
        yield point_in_time(store, service, key, keys[first : first + KEYS_PER_JOIN], moments)


def state_schema(store: FeatureStore, service: str, key: str) -> pa.Schema:
    """Columns of a state: key, ``feature_at``, then the features, view by view."""
    features = [
        (feature.name, from_feast_to_pyarrow_type(feature.dtype))
        for projection in store.get_feature_service(service).feature_view_projections
        for feature in projection.features
    ]
    return pa.schema([(key, pa.string()), (FEATURE_AT, pa.timestamp("us", tz="UTC")), *features])


def point_in_time(
    store: FeatureStore, service: str, key: str, keys: list[str], moments: tuple[datetime, ...]
) -> pa.Table:
    """The state of each key at each moment: of every view the latest row at or before it; sorted by key and moment."""
    entities = pd.MultiIndex.from_product([keys, moments], names=[key, "event_timestamp"]).to_frame(index=False)
    job = store.get_historical_features(entity_df=entities, features=store.get_feature_service(service))
    table = job.to_arrow()
    table = table.rename_columns([FEATURE_AT if name == "event_timestamp" else name for name in table.column_names])
    schema = state_schema(store, service, key)
    return table.select(schema.names).cast(schema).sort_by([(key, "ascending"), (FEATURE_AT, "ascending")])

"""The online store: an SQLite file, or Redis when ``ZHIYIN_ONLINE_STORE`` names one.

Feast writes and reads the rows. This file adds what Feast has no call for: a token that shows that a store was lost,
flushed or replaced, so that its watermarks are void; the keys of a view; and the removal of keys.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
from feast import FeatureStore, FeatureView
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import python_values_to_proto_values

from feature_repo.keys import entity_keys
from feature_repo.redis_store import RedisStore
from feature_repo.sqlite_store import SqliteStore
from zhiyin.settings import Settings


class OnlineStore(Protocol):
    """One store of one dataset."""

    def config(self) -> dict[str, Any]:
        """Feast's ``online_store`` section."""

    def prepare(self) -> str:
        """Make the store ready for its writer; return its token."""

    def token(self) -> str | None:
        """The token given when the store was first prepared; None: there is no such store, or it is empty."""

    def keys(self, view: FeatureView) -> Iterator[list[str]]:
        """Every key that the view holds a row of, in chunks."""

    def remove(self, view: FeatureView, keys: Iterable[str]) -> None:
        """Drop the view's rows of some keys, and the remains of keys that are in no view any more."""

    def count(self, key: str) -> int:
        """How many rows a key has in all views, including views that are no longer defined."""

    def erase(self, key: str) -> None:
        """Drop all rows of these keys, also from the free pages of the store's files."""


def online_store(settings: Settings) -> OnlineStore:
    project = project_name(settings)
    if settings.online_store:
        return RedisStore(settings.online_store, project)
    return SqliteStore(online_path(settings), project)


def project_name(settings: Settings) -> str:
    """Feast's project name, which keeps datasets that share a Redis apart."""
    return f"zhiyin_{settings.dataset}"


def online_path(settings: Settings) -> Path:
    return settings.features / "online.db"


def write_rows(store: FeatureStore, view: FeatureView, table: pa.RecordBatch, timestamp: str) -> None:
    """Write the rows of one batch: the view's key and features, and the moment of each row in column ``timestamp``."""
    values = [
        python_values_to_proto_values(table[feature.name].to_pylist(), feature.dtype.to_value_type())
        for feature in view.features
    ]
    names = [feature.name for feature in view.features]
    keys = entity_keys(view, table[view.join_keys[0]].to_pylist())
    moments = table[timestamp].to_pylist()
    rows: list[tuple[EntityKey, dict[str, Value], datetime, datetime | None]] = [
        (key, dict(zip(names, row, strict=True)), moment, None)
        for key, moment, *row in zip(keys, moments, *values, strict=True)
    ]
    store.provider.online_write_batch(store.config, view, rows, progress=None)

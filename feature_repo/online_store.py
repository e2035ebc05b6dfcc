"""Where online rows lie: SQLite beside everything else, or Redis when ``ZHIYIN_ONLINE_STORE`` names one.

Feast writes and reads the rows. What it has no call for is here: a token by which a store that was lost, flushed or
swapped is known to hold nothing of what the watermarks say; the keys that a view holds; and the removal of some.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import pyarrow as pa
from feast import FeatureStore, FeatureView
from feast.infra.key_encoding_utils import deserialize_entity_key, serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import python_values_to_proto_values

from zhiyin.settings import Settings

CHUNK = 1_000  # keys handled at once: bounds memory, whatever the number of users
KEY_VERSION = 3  # of Feast's serialization of entity keys
TOKEN = "zhiyin_token"  # a table of SQLite, a key of Redis


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
        """Drop the view's rows of some keys, and what else is left of a key that no view holds any more."""

    def count(self, key: str) -> int:
        """How many rows there are of a key, whatever their view, also of views that are defined no more."""

    def erase(self, key: str) -> None:
        """Drop all of these, and leave no trace of them in the store's files."""


def online_store(settings: Settings) -> OnlineStore:
    project = project_name(settings)
    if settings.online_store:
        from feature_repo.redis_store import RedisStore

        return RedisStore(settings.online_store, project)
    return SqliteStore(online_path(settings), project)


def project_name(settings: Settings) -> str:
    """Feast's project: datasets that share a Redis do not meet."""
    return f"zhiyin_{settings.dataset}"


def online_path(settings: Settings) -> Path:
    return settings.features / "online.db"


def entity_keys(view: FeatureView, keys: Iterable[str]) -> list[EntityKey]:
    join_keys = view.join_keys
    return [EntityKey(join_keys=join_keys, entity_values=[Value(string_val=key)]) for key in keys]


def serialized(view: FeatureView, keys: Iterable[str]) -> list[bytes]:
    """The keys as the stores hold them."""
    return [serialize_entity_key(key, entity_key_serialization_version=KEY_VERSION) for key in entity_keys(view, keys)]


def key_of(serialized: bytes) -> str:
    return str(
        deserialize_entity_key(serialized, entity_key_serialization_version=KEY_VERSION).entity_values[0].string_val
    )


class SqliteStore:
    """One file, in a mode in which readers never wait for the writer."""

    def __init__(self, path: Path, project: str) -> None:
        self._path = path
        self._project = project

    def config(self) -> dict[str, Any]:
        return {"type": "sqlite", "path": str(self._path)}

    def prepare(self) -> str:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path)
        try:
            connection.execute("pragma journal_mode = wal")
            with connection:
                connection.execute(f"create table if not exists {TOKEN} (token text)")
                connection.execute(
                    f"insert into {TOKEN} select ? where not exists (select 1 from {TOKEN})", [uuid4().hex]
                )
            return str(connection.execute(f"select token from {TOKEN}").fetchone()[0])
        finally:
            connection.close()

    def token(self) -> str | None:
        if not self._path.exists():  # SQLite would make an empty one
            return None
        connection = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)
        try:
            if not connection.execute("select 1 from sqlite_master where name = ?", [TOKEN]).fetchone():
                return None
            return str(connection.execute(f"select token from {TOKEN}").fetchone()[0])
        finally:
            connection.close()

    def keys(self, view: FeatureView) -> Iterator[list[str]]:
        connection = sqlite3.connect(self._path)
        try:
            cursor = connection.execute(f'select distinct entity_key from "{self._table(view)}"')
            while rows := cursor.fetchmany(CHUNK):
                yield [key_of(row[0]) for row in rows]
        finally:
            connection.close()

    def remove(self, view: FeatureView, keys: Iterable[str]) -> None:
        connection = sqlite3.connect(self._path)
        try:
            connection.execute("pragma secure_delete = on")  # an erased person is not left in free pages
            with connection:
                connection.executemany(
                    f'delete from "{self._table(view)}" where entity_key = ?', ([key] for key in serialized(view, keys))
                )
            connection.execute("pragma wal_checkpoint(truncate)")
        finally:
            connection.close()

    def count(self, key: str) -> int:
        if not self._path.exists():
            return 0
        with closing(sqlite3.connect(self._path)) as connection:
            counts = [
                connection.execute(f'select count(*) from "{table}" where instr(entity_key, ?)', [key.encode()])
                for table in self._tables(connection)
            ]
            return sum(cursor.fetchone()[0] for cursor in counts)

    def erase(self, key: str) -> None:
        if not self._path.exists():
            return
        with closing(sqlite3.connect(self._path)) as connection:
            with connection:
                for table in self._tables(connection):
                    connection.execute(f'delete from "{table}" where instr(entity_key, ?)', [key.encode()])
            # Rows that Feast overwrote have left copies in free space: only a file written anew has none.
            connection.execute("vacuum")
            connection.execute("pragma wal_checkpoint(truncate)")

    def _tables(self, connection: sqlite3.Connection) -> list[str]:
        names = connection.execute("select name from sqlite_master where type = 'table'").fetchall()
        return [name for (name,) in names if name.startswith(f"{self._project}_")]

    def _table(self, view: FeatureView) -> str:
        return f"{self._project}_{view.name}"


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

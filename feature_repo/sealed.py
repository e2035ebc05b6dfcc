"""Online stores whose values are encrypted; keys, names of features and moments are not.

Each value is sealed by itself, with its user, view and feature authenticated, so that a row of one user cannot be put
in the place of another's. Feast sees bytes in place of every value.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal

from feast import FeatureView, RepoConfig
from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.online_stores.redis import RedisOnlineStore
from feast.infra.online_stores.sqlite import SqliteOnlineStore, SqliteOnlineStoreConfig
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from feature_repo.redis_store import FailFastRedisOnlineStore, FailFastRedisOnlineStoreConfig
from zhiyin.store.encryption import seal, unseal

Row = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
Read = tuple[datetime | None, dict[str, Value] | None]


def _about(view: FeatureView, key: EntityKey, feature: str) -> bytes:
    return "\0".join((view.name, feature, *(value.string_val for value in key.entity_values))).encode()


def sealed_rows(view: FeatureView, rows: list[Row]) -> list[Row]:
    return [
        (
            key,
            {
                name: Value(bytes_val=seal(value.SerializeToString(), _about(view, key, name)))
                for name, value in values.items()
            },
            moment,
            created,
        )
        for key, values, moment, created in rows
    ]


def unsealed_rows(view: FeatureView, keys: list[EntityKey], rows: list[Read]) -> list[Read]:
    def opened(key: EntityKey, name: str, value: Value) -> Value:
        if value.WhichOneof("val") is None:  # Redis has no such field
            return value
        plain = Value()
        plain.ParseFromString(unseal(value.bytes_val, _about(view, key, name)))
        return plain

    return [
        (moment, values and {name: opened(key, name, value) for name, value in values.items()})
        for key, (moment, values) in zip(keys, rows, strict=True)
    ]


class _Sealed(OnlineStore):
    """Seals what the next class writes, and opens what it reads."""

    def online_write_batch(
        self, config: RepoConfig, table: FeatureView, data: list[Row], progress: Callable[[int], Any] | None
    ) -> None:
        super().online_write_batch(config, table, sealed_rows(table, data), progress)  # type: ignore[safe-super]

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[Read]:
        rows = super().online_read(config, table, entity_keys, requested_features)  # type: ignore[safe-super]
        return unsealed_rows(table, entity_keys, rows)


class SealedSqliteOnlineStoreConfig(SqliteOnlineStoreConfig):
    """Feast's settings of SQLite."""

    type: Literal["feature_repo.sealed.SealedSqliteOnlineStore"]  # type: ignore[assignment]


class SealedSqliteOnlineStore(_Sealed, SqliteOnlineStore):
    """Feast's SQLite store, with sealed values."""


class SealedRedisOnlineStoreConfig(FailFastRedisOnlineStoreConfig):
    """Feast's settings of Redis, and the URL."""

    type: Literal["feature_repo.sealed.SealedRedisOnlineStore"]  # type: ignore[assignment]


class SealedRedisOnlineStore(_Sealed, FailFastRedisOnlineStore):
    """Feast's Redis store, with sealed values."""

    def _read_features_per_fv(self, *arguments: Any, **named: Any) -> None:
        """A view at a time, by ``online_read``; Feast's own for Redis reads all in one pipeline, past it."""
        super(RedisOnlineStore, self)._read_features_per_fv(*arguments, **named)

"""Online rows in Redis, in Feast's own layout: a hash per key, with the fields of every view in it."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, Literal
from uuid import uuid4

from feast import FeatureView
from feast.infra.key_encoding_utils import serialize_entity_key_prefix
from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from feature_repo.keys import CHUNK, TOKEN, key_of, serialized
from zhiyin.store.encryption import is_on

CONNECT_SECONDS = 0.5
ANSWER_SECONDS = 10.0  # a batch of long histories is slow; the service waits less (bento/user_states.py)


class RedisStore:
    """One server, shared by the datasets that name it."""

    def __init__(self, url: str, project: str) -> None:
        self._url = url
        self._project = project

    def config(self) -> dict[str, Any]:
        # Without skip_dedup Feast keeps an old value silently where a new one carries the same moment.
        kind = "feature_repo.sealed.SealedRedisOnlineStore" if is_on() else f"{__name__}.FailFastRedisOnlineStore"
        return {"type": kind, "url": self._url, "skip_dedup": True}

    def prepare(self) -> str:
        with connect(self._url) as client:
            client.set(self._token_key, uuid4().hex, nx=True)
            return str(client.get(self._token_key).decode())

    def token(self) -> str | None:
        with connect(self._url) as client:
            value = client.get(self._token_key)
        return value.decode() if value else None

    def keys(self, view: FeatureView) -> Iterator[list[str]]:
        project = self._project.encode()
        with connect(self._url) as client:
            matching = client.scan_iter(serialize_entity_key_prefix(view.join_keys) + b"*" + project, count=CHUNK)
            # SCAN may return a key twice, which is harmless for a removal.
            while found := list(itertools.islice(matching, CHUNK)):
                with client.pipeline(transaction=False) as pipe:
                    for key in found:
                        pipe.hexists(key, _moment_field(view))
                    held = pipe.execute()
                yield [key_of(key.removesuffix(project)) for key, there in zip(found, held, strict=True) if there]

    def remove(self, view: FeatureView, keys: Iterable[str]) -> None:
        moment = _moment_field(view)
        fields = [moment, *RedisOnlineStore()._generate_hset_keys_for_features(view)[1]]
        with connect(self._url) as client:
            for key in serialized(view, keys):
                row = key + self._project.encode()
                client.hdel(row, *fields)
                # The hash also has values of features that are no longer defined.
                if not any(name.startswith(b"_ts:") for name in client.hkeys(row)):
                    client.delete(row)

    def count(self, key: str) -> int:
        with connect(self._url) as client:
            return sum(1 for _ in self._rows(client, key))

    def erase(self, key: str) -> None:
        with connect(self._url) as client:
            for row in list(self._rows(client, key)):
                client.delete(row)

    def _rows(self, client: Redis, key: str) -> Iterator[bytes]:
        return client.scan_iter(b"*" + key.encode() + b"*" + self._project.encode(), count=CHUNK)

    @property
    def _token_key(self) -> str:
        return f"{TOKEN}:{self._project}"


def _moment_field(view: FeatureView) -> bytes:
    return f"_ts:{view.name}".encode()


def connect(url: str) -> Redis:
    """A client that fails at once, since the service continues without the store rather than wait."""
    return Redis.from_url(
        url,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )


class FailFastRedisOnlineStoreConfig(RedisOnlineStoreConfig):
    """Feast's settings of Redis, and the URL."""

    type: Literal["feature_repo.redis_store.FailFastRedisOnlineStore"]  # type: ignore[assignment]
    url: str


class FailFastRedisOnlineStore(RedisOnlineStore):
    """Feast's Redis store over a URL; its own client retries for seconds, and takes no comma in a password."""

    def _get_client(self, online_store_config: RedisOnlineStoreConfig) -> Redis:
        if not isinstance(self._client, Redis):
            assert isinstance(online_store_config, FailFastRedisOnlineStoreConfig)
            self._client = connect(online_store_config.url)
        return self._client

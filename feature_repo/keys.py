"""Serialised keys, and what the online stores have in common."""

from collections.abc import Iterable

from feast import FeatureView
from feast.infra.key_encoding_utils import deserialize_entity_key, serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

CHUNK = 1_000  # keys per batch: bounds memory
KEY_VERSION = 3  # of Feast's serialization of entity keys
TOKEN = "zhiyin_token"  # a table of SQLite, a key of Redis


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

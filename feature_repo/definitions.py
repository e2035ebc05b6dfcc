"""Feast entities, feature views and feature services, derived from the dbt manifest and nothing else.

A mart becomes a feature view when its YAML says so::

    config:
      meta:
        feast: {entities: [user_id], timestamp: feature_at}

``created`` may name the column that says when a row became known, where rows arrive late; ``except`` lists columns
that are no features, such as those that hold the latest value only and would show the past what came after it;
``ttl_days`` says for how many days after the last materialization the online rows count as fresh (7 unless it says
otherwise).

Names, types and descriptions of the features are those of its columns. Feast brings a dbt importer (``feast.dbt``);
it needs a parser package of its own, reads DuckDB's ``varchar[]`` as a string and ``integer`` as 64 bits, and takes
any unknown type for a string, so the manifest is read here.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.data_format import ParquetFormat
from feast.types import Array, Bool, FeastType, Float32, Float64, Int32, Int64, String, UnixTimestamp

from zhiyin.contract import ITEM_ID, USER_ID
from zhiyin.store import json_digest

# Who acts: a user, known by a pseudonym.
USER = Entity(name="user", join_keys=[USER_ID], value_type=ValueType.STRING, description="A user, by pseudonym.")

# What is acted on: an item of the catalogue.
ITEM = Entity(name="item", join_keys=[ITEM_ID], value_type=ValueType.STRING, description="An item of the catalogue.")

ENTITIES = {USER_ID: USER, ITEM_ID: ITEM}

# Everything known about a user, about an item: what training reads point in time and, for users, serving online. These
# names stand for the current features; with a digest appended, for one fixed list of features.
USER_STATE = "user_state"
ITEM_STATE = "item_state"
SERVICES = {USER_STATE: USER, ITEM_STATE: ITEM}

TTL_DAYS = "ttl_days"  # the tag of a view that holds its mart's
DEFAULT_TTL_DAYS = 7

SCALARS: dict[str, FeastType] = {
    "varchar": String,
    "text": String,
    "string": String,
    "integer": Int32,
    "int": Int32,
    "bigint": Int64,
    "double": Float64,
    "float": Float32,
    "boolean": Bool,
    "timestamp": UnixTimestamp,
}


@dataclass(frozen=True)
class FeatureMart:
    """A mart that declares itself a source of features."""

    name: str
    description: str
    entity: str  # the key column
    timestamp: str
    created: str | None
    columns: dict[str, tuple[str, str]]  # name -> (type, description)
    excepted: tuple[str, ...] = ()
    ttl_days: int = DEFAULT_TTL_DAYS

    @property
    def features(self) -> list[str]:
        others = (self.entity, self.timestamp, self.created, *self.excepted)
        return [name for name in self.columns if name not in others]


def read_manifest(path: Path) -> list[FeatureMart]:
    """The feature marts of a dbt manifest, by name.

    Raises:
        FileNotFoundError: there is no manifest; the message says how to get one.
        ValueError: a mart's ``meta.feast`` is not usable, or two marts of one entity define the same feature.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no dbt manifest; run dbt (`zhiyin step build`, or `dbt parse`) first")
    nodes = json.loads(path.read_text())["nodes"].values()
    marts = [_read_node(node) for node in nodes if node["config"].get("meta", {}).get("feast")]
    _check_unique(marts)
    return sorted(marts, key=lambda mart: mart.name)


def _read_node(node: dict[str, Any]) -> FeatureMart:
    name, meta = node["name"], node["config"]["meta"]["feast"]
    columns = {key: (column["data_type"] or "", column["description"]) for key, column in node["columns"].items()}
    keys = meta.get("entities", [])
    if len(keys) != 1 or keys[0] not in ENTITIES:
        raise ValueError(f"{name}: meta.feast.entities is {keys}; it must name one of {list(ENTITIES)}")
    excepted = tuple(meta.get("except", ()))
    for column in filter(None, (keys[0], meta.get("timestamp"), meta.get("created"), *excepted)):
        if column not in columns:
            raise ValueError(f"{name}: meta.feast names column {column}, which the mart's YAML does not have")
    if "timestamp" not in meta:
        raise ValueError(f"{name}: meta.feast has no timestamp; name the column from which a row is true")
    ttl_days = meta.get("ttl_days", DEFAULT_TTL_DAYS)
    if not isinstance(ttl_days, int) or ttl_days < 1:
        raise ValueError(f"{name}: meta.feast.ttl_days is {ttl_days!r}; it must be a whole number of days from 1 on")
    return FeatureMart(
        name, node["description"], keys[0], meta["timestamp"], meta.get("created"), columns, excepted, ttl_days
    )


def _check_unique(marts: Iterable[FeatureMart]) -> None:
    """States are read by feature name alone, so a name may be in one mart of an entity only."""
    owners: dict[tuple[str, str], str] = {}
    for mart in marts:
        for feature in mart.features:
            owner = owners.setdefault((mart.entity, feature), mart.name)
            if owner != mart.name:
                raise ValueError(f"feature {feature} is defined in {owner} and in {mart.name}; rename one of them")


def feast_type(mart: str, column: str, data_type: str) -> FeastType:
    """The Feast type of a DuckDB column type, arrays included.

    Raises:
        ValueError: no such feature type; the message lists those that there are.
    """
    name = data_type.strip().lower()
    scalar = SCALARS.get(name.removesuffix("[]"))
    if scalar is None:
        raise ValueError(
            f"{mart}.{column}: type {data_type or '(none)'} is no feature type; cast it in the mart to one of "
            f"{', '.join(SCALARS)}, or to an array of them, and declare it in the YAML"
        )
    return Array(scalar) if name.endswith("[]") else scalar


def feature_view(mart: FeatureMart, source: Path) -> FeatureView:
    """The view of one mart over its published Parquet file.

    Feast's own time to live is off: a row is true until the next one. The mart's ``ttl_days`` is a tag, about the age
    of the whole view online. Item views are not written online, because a request scores the whole catalogue: the
    service keeps the state of every item in memory, from the bundle.
    """
    entity = ENTITIES[mart.entity]
    return FeatureView(
        name=mart.name,
        description=mart.description,
        entities=[entity],
        ttl=timedelta(0),
        online=entity is USER,
        tags={TTL_DAYS: str(mart.ttl_days)},
        schema=[
            Field(name=name, dtype=feast_type(mart.name, name, data_type), description=description)
            for name, (data_type, description) in mart.columns.items()
            if name in (mart.entity, *mart.features)
        ],
        source=FileSource(
            name=mart.name,
            path=str(source),
            file_format=ParquetFormat(),
            timestamp_field=mart.timestamp,
            created_timestamp_column=mart.created or "",
        ),
    )


def feature_services(views: Iterable[FeatureView]) -> list[FeatureService]:
    """Two services of all views of an entity: its current state, and the same under its version."""
    views = list(views)
    services = []
    for name, entity in SERVICES.items():
        members: list[Any] = [view for view in views if view.entities == [entity.name]]
        if members:
            description = f"Every feature of the entity {entity.name}."
            for service in (name, versioned(name, members)):
                services.append(FeatureService(name=service, features=members, description=description))
    return services


def versioned(service: str, views: Iterable[FeatureView]) -> str:
    """The service's name with a digest of its list of features: what a model was trained with."""
    features = sorted((view.name, field.name, str(field.dtype)) for view in views for field in view.features)
    return f"{service}_{json_digest(features)[:12]}"


def kept_service(service: FeatureService, views: Iterable[FeatureView]) -> FeatureService | None:
    """An earlier version of a service, without what left the marts since; None: nothing of it is left.

    The models that were trained with it continue to read the features that are left.
    """
    present = {view.name: {field.name for field in view.features} for view in views}
    by_name = {view.name: view for view in views}
    members: list[Any] = []
    for projection in service.feature_view_projections:
        names = [field.name for field in projection.features if field.name in present.get(projection.name, ())]
        if names:
            members.append(by_name[projection.name][names])
    return FeatureService(name=service.name, features=members, description=service.description) if members else None

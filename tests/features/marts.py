"""Small published marts with the shapes that matter: change-point histories, snapshots, long arrays, cold items."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from zhiyin.clock import Clock
from zhiyin.settings import Settings
from zhiyin.warehouse import Marts, current

LONG = 2_000  # length of the longest array

START = datetime(2024, 1, 1)
USERS = [f"user{n:02d}" for n in range(24)]
ITEMS = [f"item{n:03d}" for n in range(60)]
COLD = ITEMS[-5:]  # in the catalogue, without any activity

# mart -> (entity, timestamp, {column: dbt type}); the keys come from the first two
SHAPES: dict[str, tuple[str, str, dict[str, str]]] = {
    "users": ("user_id", "valid_from", {"age_band": "varchar"}),
    "items": ("item_id", "valid_from", {"title": "varchar", "available": "boolean"}),
    "user_activity": (
        "user_id",
        "feature_at",
        {"events_7d": "integer", "amount_28d": "double", "visits": "bigint", "last_event_at": "timestamp"},
    ),
    "item_activity": ("item_id", "feature_at", {"item_events_7d": "integer", "repeat_rate": "double"}),
    "user_item_repeats": (
        "user_id",
        "feature_at",
        {
            "repeat_item_ids": "varchar[]",
            "repeat_baskets": "integer[]",
            "repeat_last_at": "bigint[]",
            "repeat_decayed_short": "double[]",
        },
    ),
}
ARROW = {
    "varchar": pa.string(),
    "boolean": pa.bool_(),
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "double": pa.float64(),
    "timestamp": pa.timestamp("us"),
}


def arrow_type(name: str) -> pa.DataType:
    return pa.list_(ARROW[name[:-2]]) if name.endswith("[]") else ARROW[name]


def schema(mart: str) -> pa.Schema:
    key, timestamp, columns = SHAPES[mart]
    names = {key: "varchar", timestamp: "timestamp", **columns}
    return pa.schema([(name, arrow_type(kind)) for name, kind in names.items()])


def manifest(marts: dict[str, tuple[str, str, dict[str, str]]] = SHAPES) -> dict[str, Any]:
    """What dbt writes of these marts, as far as feature views are concerned."""
    nodes = {
        f"model.zhiyin.{name}": {
            "name": name,
            "resource_type": "model",
            "description": f"One row per {key} and moment.",
            "config": {"meta": {"feast": {"entities": [key], "timestamp": timestamp}}},
            "columns": {
                column: {"name": column, "data_type": kind, "description": f"What {column} means."}
                for column, kind in {key: "varchar", timestamp: "timestamp", **columns}.items()
            },
        }
        for name, (key, timestamp, columns) in marts.items()
    }
    nodes["model.zhiyin.interactions"] = {
        "name": "interactions",
        "resource_type": "model",
        "description": "",
        "config": {},
        "columns": {},
    }
    return {"nodes": nodes}


def histories(seed: int = 0) -> dict[str, pa.Table]:
    """Every row of the two change-point histories, over 100 days; nulls included."""
    random = np.random.default_rng(seed)
    tables = {}
    for mart, keys in (("user_activity", USERS), ("item_activity", ITEMS[: -len(COLD)])):
        rows: list[dict[str, Any]] = []
        for key in keys:
            for day in sorted(random.choice(100, size=random.integers(3, 30), replace=False).tolist()):
                moment = START + timedelta(days=day)
                common = {SHAPES[mart][0]: key, "feature_at": moment}
                if mart == "user_activity":
                    rows.append(
                        common
                        | {
                            "events_7d": int(random.integers(0, 50)),
                            "amount_28d": float(random.normal()) if day % 3 else None,
                            "visits": int(random.integers(1, 2**40)) if day % 4 else None,
                            "last_event_at": moment - timedelta(seconds=int(random.integers(1, 10**6))),
                        }
                    )
                else:
                    rows.append(common | {"item_events_7d": int(random.integers(0, 9)), "repeat_rate": random.random()})
        tables[mart] = pa.Table.from_pylist(rows, schema=schema(mart))
    return tables


def repeats(clock: Clock) -> pa.Table:
    """One row per user and snapshot; lengths 0, 1, a few and LONG; values at the edges of their types."""
    rows = []
    for index, user in enumerate(USERS):
        for shift, moment in enumerate(clock.snapshots):
            length = (0, 1, 7, LONG)[index % 4]
            at = moment.replace(tzinfo=None)
            rows.append(
                {
                    "user_id": user,
                    "feature_at": at,
                    "repeat_item_ids": [f"商品-{n}'\"\\é" for n in range(length)],
                    "repeat_baskets": [2**31 - 1 - n for n in range(length)],
                    "repeat_last_at": [2**62 + n + shift for n in range(length)],
                    "repeat_decayed_short": [1 / (n + 3 + shift) * 10 ** (n % 600 - 300) for n in range(length)],
                }
            )
    return pa.Table.from_pylist(rows, schema=schema("user_item_repeats"))


def make_tables(clock: Clock, changes: dict[str, pa.Table] | None = None) -> dict[str, pa.Table]:
    """The marts as dbt leaves them at ``clock.as_of``: no row lies after it."""
    whole = histories() | (changes or {})
    end = pa.scalar(clock.as_of.replace(tzinfo=None), pa.timestamp("us"))
    tables = {name: table.filter(pc.less_equal(table["feature_at"], end)) for name, table in whole.items()}
    tables["user_item_repeats"] = repeats(clock)
    tables["users"] = pa.Table.from_pylist(
        [
            {"user_id": user, "valid_from": START, "age_band": "35-44" if index % 2 else None}
            for index, user in enumerate(USERS)
        ],
        schema=schema("users"),
    )
    tables["items"] = pa.Table.from_pylist(
        [{"item_id": item, "valid_from": START, "title": f"Title of {item}", "available": True} for item in ITEMS],
        schema=schema("items"),
    )
    return tables


def publish(settings: Settings, clock: Clock, tables: dict[str, pa.Table], version: str) -> Marts:
    """Lay the tables down as a published version and point CURRENT at it."""
    folder = settings.marts / f"{clock.date}-{version}"
    folder.mkdir(parents=True)
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet")
    facts = {"as_of": clock.as_of.isoformat(), "rows": {name: table.num_rows for name, table in tables.items()}}
    (folder / "manifest.json").write_text(json.dumps(facts))
    (settings.marts / "CURRENT").write_text(folder.name)
    return current(settings)


def write_manifest(path: Path, marts: dict[str, tuple[str, str, dict[str, str]]] = SHAPES) -> Path:
    path.write_text(json.dumps(manifest(marts)))
    return path


def clock(day: int) -> Clock:
    """The clock that stands ``day`` days after the start of the histories."""
    return Clock((START + timedelta(days=day)).replace(tzinfo=UTC), label_days=14)


AS_OF = clock(80)

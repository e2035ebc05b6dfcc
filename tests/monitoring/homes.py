"""A small home whose data holds a planted change between the two windows, and nothing else that moved."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zhiyin.clock import Clock
from zhiyin.settings import Settings

AS_OF = Clock(datetime(2024, 3, 1, tzinfo=UTC))
USERS = 300
ITEMS = 40

Build = Callable[..., Settings]


def interactions(days: int = 56, per_day: int = 40, seed: int = 0) -> pa.Table:
    """``per_day`` events on each of the ``days`` before as_of; in the last 28, amounts are three times as high."""
    random = np.random.default_rng(seed)
    n = days * per_day
    day = np.repeat(np.arange(days), per_day)  # days before as_of, 0 = the last
    moments = np.datetime64(AS_OF.as_of.replace(tzinfo=None), "us") - (day + 1) * np.timedelta64(86_400_000_000, "us")
    moments = moments + random.integers(0, 86_400, n) * np.timedelta64(1_000_000, "us")
    return pa.table(
        {
            "event_id": [f"e{index}" for index in range(n)],
            "user_id": [f"u{number}" for number in random.integers(0, USERS, n)],
            "item_id": [f"i{number}" for number in random.integers(0, ITEMS, n)],
            "event_type": ["purchase"] * n,
            "value": random.integers(1, 4, n).astype(float),
            "amount": random.gamma(2.0, 2.0, n) * np.where(day < 28, 3.0, 1.0),
            "basket_id": [f"b{index // 7}-{index % 7 < 3}" for index in range(n)],
            "occurred_at": pa.array(moments, pa.timestamp("us")),
            "source": ["shop"] * n,
        }
    )


def quarantined() -> pa.Table:
    """Three events of an unknown item on each of the last seven days, and one without a user 30 days ago."""
    end = AS_OF.as_of.replace(tzinfo=None)
    rows = [("item unknown", end - timedelta(days=day, hours=-hour)) for day in range(1, 8) for hour in (0, 1, 23)]
    rows.append(("user missing", end - timedelta(days=30)))
    rows.append(("amount negative", end - timedelta(days=56, seconds=1)))  # before the eight weeks
    reasons, moments = zip(*rows, strict=True)
    return pa.table(
        {
            "event_id": [f"q{number}" for number in range(len(rows))],
            "rejected_because": list(reasons),
            "occurred_at": pa.array(list(moments), pa.timestamp("us")),
        }
    )


def items() -> pa.Table:
    return pa.table(
        {
            "item_id": [f"i{number}" for number in range(ITEMS)],
            "department": [("BAKERY", "DAIRY")[number % 2] for number in range(ITEMS)],
            "category": [f"CATEGORY {number % 5}" for number in range(ITEMS)],
            "labels": [[f"label {number % 2}", f"label {2 + number % 3}"] for number in range(ITEMS)],
            "brand": [("National", "Private")[number % 3 == 0] for number in range(ITEMS)],
        }
    )


def states(key: str, count: int, **late: pa.Array) -> pa.Table:
    """``count`` keys at each snapshot, the same values at each but for the columns in ``late``."""
    random = np.random.default_rng(1)
    spend, kind = random.gamma(2.0, 2.0, count), random.integers(0, 3, count)
    tables = []
    for moment in AS_OF.snapshots:
        at = pa.scalar(moment, pa.timestamp("us", tz="UTC"))
        table = pa.table(
            {
                key: [f"{key[0]}{number}" for number in range(count)],
                "feature_at": pa.repeat(at, count),
                "spend": spend,
                "kind": [f"kind {number}" for number in kind],
                "known": kind > 0,
                "title": [f"a text of its own, {number}" for number in range(count)],
                "unused": pa.nulls(count, pa.float64()),
                "last_at": pa.array([moment - timedelta(hours=int(hours)) for hours in spend * 10], at.type),
                "scores": pa.array([[value, value + 1] for value in spend]),
                "ids": pa.array([["x"] * number for number in kind]),
                "seen_at": pa.array([[int(moment.timestamp() - value * 3600)] for value in spend]),
            }
        )
        for name, values in late.items():
            table = table.append_column(name, values if moment == AS_OF.as_of else pa.array(np.zeros(count)))
        tables.append(table)
    return pa.concat_tables(tables)


def save(folder: Path, tables: dict[str, pa.Table]) -> None:
    folder.mkdir(parents=True)
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet")

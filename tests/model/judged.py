"""Evaluations as `evaluate` leaves them, as far as the gate reads them: every user took one item."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zhiyin.recommender.state.catalogue import Integers

WINDOW = ["2017-11-17T00:00:00+00:00", "2017-12-01T00:00:00+00:00"]
TRUTH = "item 0"
MISS = 11  # a rank that no list has


def ndcg(ranks: Integers) -> np.ndarray[Any, Any]:
    """NDCG@10 per user [users] of lists that have the item at these ranks."""
    return np.where(ranks < MISS, 1 / np.log2(1 + ranks), 0.0)


def judged(
    folder: Path,
    name: str,
    ranks: Integers,
    baseline: float = 0.1,
    slices: dict[str, Integers] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """``ranks`` [users]: where each list has the item, from ``MISS`` on nowhere; ``baseline``: what the baselines reach
    of every user; ``slices``: their users."""
    folder.mkdir(parents=True, exist_ok=True)
    users = [f"{user:05}" for user in range(len(ranks))]
    members = [(name, users[user]) for name, inside in (slices or {"few": np.arange(3)}).items() for user in inside]
    tables = {
        "lists": pa.table({"user_id": users, "item_id": [TRUTH] * len(users), "rank": ranks}),
        "truth": pa.table({"user_id": users, "item_id": [TRUTH] * len(users)}),
        "slices": pa.table(
            {
                "slice": [name for name, _ in members],
                "user_id": [user for _, user in members],
                "item_id": pa.array([None] * len(members), pa.string()),
            }
        ),
    }
    files = {}
    for kind, table in tables.items():
        files[f"{kind}_file"] = str(folder / f"{kind}-{name[:12]}.parquet")
        pq.write_table(table, files[f"{kind}_file"])
    mean, half = float(ndcg(ranks).mean()) - baseline, 1.96 * float(ndcg(ranks).std()) / len(ranks) ** 0.5
    gap = {"mean": mean, "low": mean - half, "high": mean + half}
    report = {
        "bundle": name,
        "window": WINDOW,
        "users": len(ranks),
        "models": {"zhiyin": {"coverage@10": 0.3}},
        "differences": {"popularity": gap, "personal_frequency": gap},
        "reliability": {"listed": {"ece": 0.03}},
    }
    return report | files | changes

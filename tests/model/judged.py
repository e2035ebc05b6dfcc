"""Evaluations as `evaluate` leaves them, as far as the gate reads them, from every user's NDCG@10."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zhiyin.recommender.state.catalogue import Integers

WINDOW = ["2017-11-17T00:00:00+00:00", "2017-12-01T00:00:00+00:00"]
TRUTH = "item 0"  # what every user took


def judged(
    folder: Path,
    name: str,
    ndcg: np.ndarray[Any, Any],
    baseline: float = 0.1,
    ranks: Integers | None = None,
    slices: dict[str, Integers] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """``baseline``: what the baselines reach of every user. ``ranks`` [users]: where each user's list has the item that
    the user took. ``slices``: their users."""
    folder.mkdir(parents=True, exist_ok=True)
    users = [f"{user:05}" for user in range(len(ndcg))]
    ranks = np.ones(len(ndcg), int) if ranks is None else ranks
    members = [(name, users[user]) for name, inside in (slices or {"few": np.arange(3)}).items() for user in inside]
    tables = {
        "users": pa.table({"user_id": users, "zhiyin": ndcg}),
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
    mean, half = float(np.mean(ndcg)) - baseline, 1.96 * float(np.std(ndcg)) / len(ndcg) ** 0.5
    gap = {"mean": mean, "low": mean - half, "high": mean + half}
    report = {
        "bundle": name,
        "window": WINDOW,
        "users": len(ndcg),
        "models": {"zhiyin": {"coverage@10": 0.3}},
        "differences": {"popularity": gap, "personal_frequency": gap},
        "reliability": {"listed": {"ece": 0.03}},
    }
    return report | files | changes

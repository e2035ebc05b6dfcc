"""Reliability of the probabilities: predicted against observed, on a sample of all users, active or not."""

from typing import Any

import numpy as np
import numpy.typing as npt

from training.protocols import Split
from training.splits import States
from zhiyin.recommender.features import users_at_once
from zhiyin.recommender.recommender import Recommender

USERS = 250  # enough for a table; each costs a list
BINS = 10

Values = npt.NDArray[np.float64]


def measure_reliability(recommender: Recommender, split: Split, states: States, k: int) -> dict[str, Any] | None:
    """``reliability`` of all candidates and of those listed, of up to ``USERS`` of a split's users, drawn by a hash.

    The split holds users who took nothing, too. None for a recommender without probabilities.
    """
    if not any(ranker.calibration for ranker in recommender.rankers.values()):
        return None
    split = split.only(split.drawn(USERS))
    promised: list[Values] = []
    taken: list[npt.NDArray[np.bool_]] = []
    listed: list[npt.NDArray[np.bool_]] = []
    size = users_at_once(len(recommender.item_state.pool))
    for start in range(0, len(split), size):
        ranked = recommender.rank_users(states.users(split, start, min(start + size, len(split))), k)
        known = ~np.isnan(ranked.probability)
        place = np.isin(np.arange(len(ranked.candidates)), ranked.chosen)
        promised.append(ranked.probability[known])
        taken.append(split.holds(ranked.candidates.user + start, ranked.candidates.item)[known])
        listed.append(place[known])
    chance, came, shown = np.concatenate(promised), np.concatenate(taken), np.concatenate(listed)
    return {
        "users": len(split),
        "candidates": reliability(chance, came),
        "listed": reliability(chance[shown], came[shown]),
    }


def reliability(promised: Values, came: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Brier score, that of the base rate for all, expected calibration error (Naeini et al. 2015), and its table.

    ``promised``: probabilities [rows]; ``came``: whether it happened [rows]. The bins hold equally many rows.
    """
    if not len(promised):
        return {"rows": 0}
    order = np.argsort(promised, kind="stable")
    bins = [part for part in np.array_split(order, BINS) if len(part)]
    table = [
        {"rows": len(part), "promised": float(promised[part].mean()), "came": float(came[part].mean())} for part in bins
    ]
    base = float(came.mean())
    return {
        "rows": len(promised),
        "base_rate": base,
        "brier": float(np.mean((promised - came) ** 2)),
        "brier_of_base_rate": base * (1 - base),
        "ece": sum(row["rows"] * abs(row["promised"] - row["came"]) for row in table) / len(promised),
        "table": table,
    }

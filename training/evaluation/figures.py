"""Figures of a leaderboard from lists: per user, and their mean with its 95 % interval."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from training.evaluation.metrics import (
    METRICS,
    Values,
    beyond_accuracy,
    bootstrap_means,
    interval,
    list_metrics,
    miscalibration,
)
from zhiyin.recommender.state.catalogue import Catalogue, Floats, Integers
from zhiyin.recommender.state.history import History
from zhiyin.recommender.state.users import Users

Mask = npt.NDArray[np.bool_]
KS = (5, 10, 20)
K = 10  # of what a list is like, and of paired differences
BEYOND = ("novelty", "diversity", "popularity_lift", "miscalibration")
FIGURES = (*(f"{metric}@{k}" for k in KS for metric in METRICS), "auc", *BEYOND)


def accuracy(
    lists: Integers, relevant: Mask, totals: Integers, place: Integers, ks: tuple[int, ...] = KS
) -> dict[str, Values]:
    """Every metric at every cutoff, per user [users].

    ``lists`` [users, at least max(ks)] of items, -1 where there is nothing; ``relevant`` [users, pool]; ``place``
    [items]: column of each item in the pool; ``totals`` [users]: relevant items, in the pool or not.
    """
    hits = np.take_along_axis(relevant, np.maximum(place[lists], 0), axis=1) & (lists >= 0)
    return {f"{metric}@{k}": each for k in ks for metric, each in list_metrics(hits[:, :k], totals).items()}


def owners(log: History) -> Integers:
    """How many users have each item [items]."""
    return np.bincount(np.unique(log.user * log.n_items + log.item) % log.n_items, minlength=log.n_items)


def character(
    lists: Integers, users: Users, buyers: Integers, n_users: int, catalogue: Catalogue, text: Floats
) -> dict[str, Values]:
    """What the first ten of each list are like, per user [users]; ``buyers`` [items] of ``n_users``, see ``owners``."""
    n, lists = len(users), lists[:, :K]
    total = np.bincount(users.repeats.user, buyers[users.repeats.item], n)
    own = total / np.maximum(np.bincount(users.repeats.user, minlength=n), 1)
    taste = np.zeros((n, catalogue.groups.shape[1]), np.float32)
    for affinity, first in ((users.affinity, 0), (users.label_affinity, len(catalogue.categories))):
        taste[affinity.user, first + affinity.code] = affinity.share
    figures = beyond_accuracy(lists, buyers, n_users, own, text)
    return figures | {"miscalibration": miscalibration(lists, catalogue.groups, taste)}


def means(values: Mapping[str, Values]) -> dict[str, dict[str, float]]:
    """Of each figure: mean over the users who have it and its 95 % interval; 0 where none has."""
    table = np.column_stack(list(values.values()))
    table = np.where(np.isnan(table).all(axis=0), 0.0, table)
    low, high = interval(bootstrap_means(table))
    mean = np.nanmean(table, axis=0)
    return {
        name: {"mean": float(mean[at]), "low": float(low[at]), "high": float(high[at])}
        for at, name in enumerate(values)
    }


def summary(values: Mapping[str, Values], lists: Integers, candidates: Mask) -> dict[str, Any]:
    """``FIGURES`` as ``means``, and the share of the candidates that stand among anyone's first ten."""
    shown = lists[:, :K]
    covered = len(np.unique(shown[shown >= 0])) / max(int(candidates.sum()), 1)
    return means({name: values[name] for name in FIGURES}) | {f"coverage@{K}": covered}


def paired(one: Values, others: Mapping[str, Values]) -> dict[str, dict[str, float]]:
    """Mean difference of one model from each other over the same users, with its 95 % interval."""
    return means({name: one - values for name, values in others.items()}) if others else {}

"""The slate: from scored candidates to each user's list."""

import numpy as np
import numpy.typing as npt

from zhiyin.recommender.catalogue import Integers

CATEGORY_SHARE = 0.5  # at most this share of a list comes from one category while others are left


def pick(
    user: Integers, item: Integers, score: npt.NDArray[np.float64], category: Integers, k: int
) -> tuple[Integers, Integers]:
    """The best ``k`` candidates of each user under the category guard.

    ``category``: code per candidate, -1 where unknown (never limited). Returns the positions of the chosen candidates,
    users ascending and best first, and their ranks from 1. Equal scores go by item index.
    """
    order = np.lexsort((item, -score, user))
    limit = max(1, int(np.ceil(CATEGORY_SHARE * k)))
    group = user[order] * (int(category.max(initial=0)) + 2) + category[order] + 1
    crowded = (_running_count(group) > limit) & (category[order] >= 0)
    order = order[np.lexsort((np.arange(len(order)), crowded, user[order]))]
    rank = _running_count(user[order])
    return order[rank <= k], rank[rank <= k]


def _running_count(groups: Integers) -> Integers:
    """How often each value has occurred so far, itself included."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]][: len(ordered)])
    lengths = np.diff(np.r_[starts, len(ordered)])
    counts = np.empty(len(groups), np.int64)
    counts[order] = np.arange(len(ordered)) - np.repeat(starts, lengths) + 1
    return counts

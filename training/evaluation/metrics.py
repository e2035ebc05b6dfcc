"""Ranking metrics per user, and bootstrap intervals of their means.

Definitions: binary relevance; NDCG's ideal list holds min(k, relevant) hits; precision divides by k, recall by the
number of relevant items, average precision by min(k, relevant). A user without a list counts 0.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from zhiyin.recommender.state.catalogue import Floats, Integers

METRICS: Final = ("ndcg", "recall", "precision", "f1", "hit_rate", "mrr", "map")
Values = npt.NDArray[np.float64]


def list_metrics(hits: npt.NDArray[np.bool_], relevant: Integers) -> dict[str, Values]:
    """Each metric per user [users]. ``hits`` [users, k]: whether the item at each rank is relevant, best rank first."""
    k = hits.shape[1]
    gain = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.r_[0.0, np.cumsum(gain)][np.minimum(relevant, k)]
    found = hits.sum(axis=1)
    precision = found / k
    recall = _divide(found, relevant)
    first = np.where(found > 0, hits.argmax(axis=1) + 1, np.inf)
    precisions = np.cumsum(hits, axis=1) / np.arange(1, k + 1)
    return {
        "ndcg": _divide(hits @ gain, ideal),
        "recall": recall,
        "precision": precision,
        "f1": _divide(2 * precision * recall, precision + recall),
        "hit_rate": (found > 0).astype(np.float64),
        "mrr": 1 / first,
        "map": _divide((precisions * hits).sum(axis=1), np.minimum(relevant, k)),
    }


def user_auc(scores: Floats, relevant: npt.NDArray[np.bool_], eligible: npt.NDArray[np.bool_]) -> Values:
    """AUC of each user's relevant items against the other eligible ones [users], ties counting a half.

    ``scores`` [users, items], -inf allowed; ``eligible`` [items] or [users, items]; NaN where a user has no relevant
    or no other item.
    """
    area = np.full(len(scores), np.nan)
    eligible = np.broadcast_to(eligible, relevant.shape)
    for row in range(len(scores)):
        ranked = np.sort(scores[row, eligible[row]])
        right = np.sort(scores[row, relevant[row] & eligible[row]])
        wrong = len(ranked) - len(right)
        if len(right) and wrong:
            # Pairs won among all the eligible, less those won against the relevant themselves.
            area[row] = (_won(right, ranked) - _won(right, right)).mean() / wrong
    return area


def _won(scores: Floats, others: Floats) -> Values:
    """How many of ``others`` (ascending) each score beats, a tie counting a half."""
    below, upto = np.searchsorted(others, scores, "left"), np.searchsorted(others, scores, "right")
    return (below + upto) / 2


def bootstrap_means(values: Values, resamples: int = 1_000, seed: int = 0) -> Values:
    """Means over users drawn with replacement: ``values`` [users, columns] -> [resamples, columns].

    NaN: the user has no such figure and does not count; a resample without anyone who has one is NaN.
    """
    random = np.random.default_rng(seed)
    n = len(values)
    weights = random.multinomial(n, np.full(n, 1 / n), size=resamples)
    known = ~np.isnan(values)
    counts = np.asarray(weights @ known, np.float64)
    totals = np.asarray(weights @ np.where(known, values, 0.0), np.float64)
    means: Values = np.divide(totals, counts, out=np.full(totals.shape, np.nan), where=counts > 0)
    return means


def interval(means: Values) -> Values:
    """The 95 % percentile interval [2, columns]."""
    return np.asarray(np.nanpercentile(means, [2.5, 97.5], axis=0))


def _divide(numerator: npt.NDArray[np.number], denominator: npt.NDArray[np.number]) -> Values:
    quotient: Values = np.divide(
        numerator, denominator, out=np.zeros(len(numerator)), where=denominator > 0, dtype=np.float64
    )
    return quotient


def beyond_accuracy(lists: Integers, buyers: Integers, n_users: int, own: Values, text: Floats) -> dict[str, Values]:
    """Properties of lists beyond accuracy; each per user [users], NaN for an empty list.

    ``lists`` [users, k], -1 where there is nothing; ``buyers`` [items]: users who have the item; ``own`` [users]: mean
    buyers of what the user has; ``text`` [items, d]: vectors that say how alike two items are. Novelty: mean
    self-information in bits of meeting the item at a random user (Vargas and Castells 2011). Diversity: one less the
    mean cosine of two items of the list (Ziegler et al. 2005). Popularity lift: mean buyers of the list to those of the
    user's own items (Abdollahpouri et al. 2019); above 1, the list is more popular than its user's taste.
    """
    there = lists >= 0
    size = there.sum(axis=1).astype(np.float64)
    bits = -np.log2((buyers + 1) / (n_users + 1))
    unit = text / np.maximum(np.linalg.norm(text, axis=1, keepdims=True), 1e-9)
    total = np.einsum("ukd,uk->ud", unit[lists], there)
    pairs = size * (size - 1)
    alike = np.einsum("ud,ud->u", total, total) - (np.linalg.norm(unit, axis=1)[lists] ** 2 * there).sum(axis=1)
    empty, single = np.where(size > 0, size, np.nan), np.where(pairs > 0, pairs, np.nan)
    return {
        "novelty": (bits[lists] * there).sum(axis=1) / empty,
        "diversity": 1 - alike / single,
        "popularity_lift": (buyers[lists] * there).sum(axis=1) / empty / np.where(own > 0, own, np.nan),
    }


def miscalibration(lists: Integers, groups: sp.csr_array, taste: Floats) -> Values:
    """How far the categories and labels of each list are from those of its user's history [users], NaN where unknown.

    Steck 2018 ("Calibrated Recommendations"): the Kullback-Leibler divergence in nats of the list's shares, smoothed by
    a hundredth of the history's, from the history's; 0 is calibrated. ``lists`` [users, k], -1 where there is nothing;
    ``groups`` [items, groups]: ones where an item is of a group; ``taste`` [users, groups]: shares of the history, any
    positive scale.
    """
    row, place = np.nonzero(lists >= 0)
    held = sp.csr_array((np.ones(len(row)), (row, lists[row, place])), (len(lists), groups.shape[0]))
    listed = (held @ groups).toarray()
    there = (listed.sum(axis=1) > 0) & (taste.sum(axis=1) > 0)
    p = taste / np.where(there, taste.sum(axis=1), 1.0)[:, None]
    q = listed / np.where(there, listed.sum(axis=1), 1)[:, None]
    logs = np.log(np.divide(p, 0.99 * q + 0.01 * p, out=np.ones(p.shape), where=p > 0))
    return np.where(there, (p * logs).sum(axis=1), np.nan)

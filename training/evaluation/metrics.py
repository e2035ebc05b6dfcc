"""Ranking metrics per user, and bootstrap intervals of their means.

Definitions: binary relevance; NDCG's ideal list holds min(k, relevant) hits; precision divides by k, recall by the
number of relevant items, average precision by min(k, relevant). A user without a list counts 0.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from zhiyin.recommender.catalogue import Floats, Integers

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

    ``scores`` [users, items], -inf allowed; NaN where a user has no relevant or no other item.
    """
    area = np.full(len(scores), np.nan)
    ranked = np.sort(scores[:, eligible], axis=1)
    for row in range(len(scores)):
        right = np.sort(scores[row, relevant[row] & eligible])
        wrong = ranked.shape[1] - len(right)
        if len(right) and wrong:
            # Pairs won among all the eligible, less those won against the relevant themselves.
            area[row] = (_won(right, ranked[row]) - _won(right, right)).mean() / wrong
    return area


def _won(scores: Floats, others: Floats) -> Values:
    """How many of ``others`` (ascending) each score beats, a tie counting a half."""
    below, upto = np.searchsorted(others, scores, "left"), np.searchsorted(others, scores, "right")
    return (below + upto) / 2


def bootstrap_means(values: Values, resamples: int = 1_000, seed: int = 0) -> Values:
    """Means over users drawn with replacement: ``values`` [users, columns] -> [resamples, columns]."""
    random = np.random.default_rng(seed)
    n = len(values)
    weights = random.multinomial(n, np.full(n, 1 / n), size=resamples)
    return np.asarray(weights @ values / n)


def interval(means: Values) -> Values:
    """The 95 % percentile interval [2, columns]."""
    return np.asarray(np.percentile(means, [2.5, 97.5], axis=0))


def _divide(numerator: npt.NDArray[np.number], denominator: npt.NDArray[np.number]) -> Values:
    quotient: Values = np.divide(
        numerator, denominator, out=np.zeros(len(numerator)), where=denominator > 0, dtype=np.float64
    )
    return quotient

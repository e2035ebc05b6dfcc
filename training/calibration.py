"""Calibrate the ranker on users that it did not learn from, whether they then took something or nothing."""

import numpy as np
from scipy.optimize import isotonic_regression

from training.ranking_set import RankingSet
from zhiyin.recommender.calibration import Calibration
from zhiyin.recommender.ranker import Ranker

ROWS_A_KNOT = 50  # a probability is read off no fewer candidates


def fit_calibration(ranker: Ranker, trial: RankingSet) -> Calibration:
    """Isotonic regression (Zadrozny and Elkan 2002) of the labels of held-out candidates on their scores."""
    scores = np.asarray(ranker.booster.predict(trial.features), np.float64)
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    # Equal scores stay together.
    starts = np.unique(np.searchsorted(ordered, ordered[: max(len(order) - ROWS_A_KNOT, 1) : ROWS_A_KNOT]))
    sizes = np.diff([*starts, len(order)]).astype(np.float64)
    score = np.add.reduceat(ordered, starts) / sizes
    taken = np.add.reduceat(trial.label[order].astype(np.float64), starts) / sizes
    rising = isotonic_regression(taken, weights=sizes).x
    # Inside a flat stretch a knot says nothing.
    edge = np.r_[True, (rising[1:-1] != rising[:-2]) | (rising[1:-1] != rising[2:]), True][: len(rising)]
    return Calibration(score[edge], rising[edge])

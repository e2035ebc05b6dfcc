"""Calibrate the ranker on users that it did not learn from, whether they then took something or nothing."""

import numpy as np
from scipy.optimize import isotonic_regression

from training.ranking.ranking_set import RankingSet
from zhiyin.recommender.calibration import ACTIVITY, Calibration, Values, lifted
from zhiyin.recommender.ranker import Ranker
from zhiyin.recommender.state.catalogue import Floats

ROWS_A_KNOT = 50  # a probability is read off no fewer candidates
NEWTON_STEPS = 25
RIDGE = 1.0  # on the weights in standard deviations: where labels separate, they stay finite


def fit_calibration(ranker: Ranker, holdout: RankingSet) -> Calibration:
    """Platt's logistic regression of the labels on score and activity tells the lift; then isotonic regression.

    Platt 1999; Zadrozny and Elkan 2002.
    """
    scores = np.asarray(ranker.booster.predict(holdout.features), np.float64)
    known = ACTIVITY in holdout.names
    activity = holdout.features[:, holdout.names.index(ACTIVITY)] if known else np.zeros(len(scores), np.float32)
    return calibrate(scores, activity, holdout.label.astype(np.float64))


def calibrate(scores: Values, activity: Floats, taken: Values) -> Calibration:
    """The same of scores, their users' activity, and whether the items were taken [rows]."""
    of_score, of_activity = _logistic(np.column_stack([scores, lifted(np.zeros(len(scores)), activity, 1.0)]), taken)
    lift = float(of_activity / of_score) if of_score > 0 else 0.0

    scores = lifted(scores, activity, lift)
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    # Equal scores stay together.
    starts = np.unique(np.searchsorted(ordered, ordered[: max(len(order) - ROWS_A_KNOT, 1) : ROWS_A_KNOT]))
    sizes = np.diff([*starts, len(order)]).astype(np.float64)
    score = np.add.reduceat(ordered, starts) / sizes
    rising = isotonic_regression(np.add.reduceat(taken[order], starts) / sizes, weights=sizes).x
    # Inside a flat stretch a knot says nothing.
    edge = np.r_[True, (rising[1:-1] != rising[:-2]) | (rising[1:-1] != rising[2:]), True][: len(rising)]
    return Calibration(lift, score[edge], rising[edge])


def _logistic(columns: Values, label: Values) -> Values:
    """Weights [columns] of a logistic regression with a constant, by Newton's method."""
    spread = np.where(columns.std(axis=0) > 0, columns.std(axis=0), 1.0)
    rows = np.column_stack([np.ones(len(columns)), (columns - columns.mean(axis=0)) / spread])
    penalty = RIDGE * np.diag([0.0] + [1.0] * columns.shape[1])
    base = np.clip(label.mean(), 1e-6, 1 - 1e-6)
    weights = np.r_[np.log(base / (1 - base)), np.zeros(columns.shape[1])]
    for _ in range(NEWTON_STEPS):
        chance = 1 / (1 + np.exp(-np.clip(rows @ weights, -30, 30)))
        slope = rows.T @ (label - chance) - penalty @ weights
        curve = (rows * (chance * (1 - chance))[:, None]).T @ rows + penalty + 1e-9 * np.eye(len(weights))
        weights = weights + np.clip(np.linalg.solve(curve, slope), -2, 2)
    return np.asarray(weights[1:] / spread)

"""Calibration of scores to the probability that the user takes the item within the label window."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from zhiyin.recommender.state.catalogue import Floats
from zhiyin.store import read_json, write_json

ACTIVITY = "user_events_28d"  # how active the user is
Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """A monotone piecewise linear function, flat beyond its ends: isotonic regression (Zadrozny and Elkan 2002, KDD).

    ``score`` and ``probability``: float64 [knots], ascending. A ranker's score compares items of one user only. So
    ``lift`` times the logarithm of the user's activity is added first, which keeps the order within a user. ``lift``
    comes from a logistic regression, as in Platt scaling (Platt 1999).
    """

    lift: float
    score: Values
    probability: Values

    def __call__(self, scores: Values, activity: Floats) -> Values:
        return np.interp(lifted(scores, activity, self.lift), self.score, self.probability)

    def save(self, path: Path) -> None:
        knots = {"score": self.score.tolist(), "probability": self.probability.tolist()}
        write_json(path, {"lift": self.lift, **knots})

    @classmethod
    def load(cls, path: Path) -> Self:
        facts = read_json(path)
        return cls(facts["lift"], np.array(facts["score"]), np.array(facts["probability"]))


def lifted(scores: Values, activity: Floats, lift: float) -> Values:
    """Scores [rows] that compare between users; ``activity`` [rows]: events of 28 days, NaN for none."""
    return np.asarray(scores + lift * np.log1p(np.nan_to_num(activity.astype(np.float64))))

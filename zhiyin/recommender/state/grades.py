"""Grades: what a user's grade says depends on what the user usually gives."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zhiyin.contract import EVENT_TYPES

RATING = EVENT_TYPES.index("rating") + 1  # its code among the types of events
DISLIKED = len(EVENT_TYPES) + 1  # a rating with a grade below the user's usual
AGAINST = 0.25  # weight of a grade a spread or more below the usual, where what was liked weighs 1
SHRINK = 5.0  # grades of the log's mean that a user's own are joined with

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Scale:
    """Mean and spread (standard deviation) of the grades of a log; NaN where it has none."""

    mean: float
    spread: float

    @classmethod
    def of(cls, grades: npt.NDArray[np.floating]) -> "Scale":
        return cls(float(grades.mean(dtype=float)), float(grades.std(dtype=float))) if len(grades) else UNKNOWN_SCALE

    def usual(self, user: npt.NDArray[np.int64], grade: npt.NDArray[np.floating], n: int) -> npt.NDArray[np.float64]:
        """The usual grade of each of ``n`` users: the mean of their own, shrunk towards the log's [users]."""
        given = np.isfinite(grade)
        prior, mean = (SHRINK, self.mean) if np.isfinite(self.mean) else (0.0, 0.0)
        total = prior * mean + np.bincount(user[given], grade[given].astype(np.float64), n)
        count = prior + np.bincount(user[given], minlength=n)
        return np.asarray(np.divide(total, count, out=np.full(n, np.nan), where=count > 0))

    def liking(self, user: npt.NDArray[np.int64], grade: npt.NDArray[np.floating], n: int) -> Floats:
        """How far each grade is from its user's usual, in spreads; NaN where there is no grade."""
        spread = self.spread if self.spread > 0 else 1.0
        return ((grade - self.usual(user, grade, n)[user]) / spread).astype(np.float32)


UNKNOWN_SCALE = Scale(float("nan"), float("nan"))

"""From the ranker's score to a probability: the chance that the user takes the item within the label window."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from zhiyin.store import read_json, write_json

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """A rising line through knots, both float64 [knots] and ascending; flat beyond the ends."""

    score: Values
    probability: Values

    def __call__(self, scores: Values) -> Values:
        return np.interp(scores, self.score, self.probability)

    def save(self, path: Path) -> None:
        write_json(path, {"score": self.score.tolist(), "probability": self.probability.tolist()})

    @classmethod
    def load(cls, path: Path) -> Self:
        knots = read_json(path)
        return cls(np.array(knots["score"]), np.array(knots["probability"]))

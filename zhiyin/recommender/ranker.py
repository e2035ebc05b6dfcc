"""The ranker: LightGBM LambdaMART over described candidates."""

from pathlib import Path
from typing import Self

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from zhiyin.recommender.catalogue import Floats
from zhiyin.recommender.features import Candidates

WORTH_THREADS = 10_000  # rows from which on several threads are faster than one


class Ranker:
    """Gradient-boosted trees and the order of the features that they were grown on."""

    def __init__(self, booster: lgb.Booster) -> None:
        self.booster = booster
        self.features: list[str] = booster.feature_name()

    def score(self, candidates: Candidates) -> npt.NDArray[np.float64]:
        """Float64 [candidates], higher is better; comparable within a user only."""
        if not len(candidates):
            return np.empty(0)
        threads = 1 if len(candidates) < WORTH_THREADS else 0  # 0: as many as OpenMP is allowed
        scores = self.booster.predict(matrix(candidates, self.features), num_threads=threads)
        return np.asarray(scores, np.float64)

    def save(self, path: Path) -> None:
        self.booster.save_model(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        return cls(lgb.Booster(model_file=path))


def matrix(candidates: Candidates, features: list[str]) -> Floats:
    """Float32 [candidates, features].

    Raises:
        ValueError: a feature that the ranker learned from is not in the data any more.
    """
    lost = [name for name in features if name not in candidates.columns]
    if lost:
        raise ValueError(f"the ranker needs {', '.join(lost)}, which the states no longer hold; train again")
    return np.column_stack([candidates.columns[name] for name in features]).astype(np.float32, copy=False)

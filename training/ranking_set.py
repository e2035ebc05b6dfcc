"""The ranker's training set: what the generators would have proposed at earlier moments, and what was then bought."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from training.data import Data, eligibility, eligible_at
from training.evaluation.splits import truth_between
from zhiyin.recommender.candidates import CandidateGenerator
from zhiyin.recommender.candidates.base import Progress
from zhiyin.recommender.catalogue import Floats, ItemState
from zhiyin.recommender.features import Candidates, propose
from zhiyin.recommender.ranker import matrix
from zhiyin.recommender.users import Users

USERS_AT_ONCE = 256


@dataclass(frozen=True)
class RankingSet:
    """Rows of candidates: features float32 [rows, features], label 0 or 1 [rows], and rows per user in order."""

    names: list[str]
    features: Floats
    label: npt.NDArray[np.int8]
    group: npt.NDArray[np.int64]


class RankingLessons:
    """Gathers a ranking set batch by batch.

    Users without a proposed item that they then took teach a ranker nothing and are left out. Of the candidates that
    were not taken a random share ``negatives`` is kept; all of what was taken is.
    """

    def __init__(self, negatives: float = 1.0, seed: int = 0) -> None:
        self._negatives = negatives
        self._random = np.random.default_rng(seed)
        self._names: list[str] = []
        self._blocks: list[tuple[Floats, npt.NDArray[np.int8], npt.NDArray[np.int64]]] = []

    def add(self, candidates: Candidates, label: npt.NDArray[np.bool_]) -> None:
        """A batch of users' candidates, and whether each was taken."""
        self._names = self._names or sorted(candidates.columns)
        keep = (np.bincount(candidates.user, label) > 0)[candidates.user]
        if self._negatives < 1:
            keep &= label | (self._random.random(len(label)) < self._negatives)
        features = matrix(candidates, self._names)[keep]
        self._blocks.append((features, label[keep].astype(np.int8), np.bincount(candidates.user[keep])))

    def gathered(self) -> RankingSet:
        features = np.concatenate([rows for rows, _, _ in self._blocks])
        labels = np.concatenate([taken for _, taken, _ in self._blocks])
        group = np.concatenate([size for _, _, size in self._blocks])
        return RankingSet(self._names, features, labels, group[group > 0])


def build_ranking_set(
    data: Data, generators: list[CandidateGenerator], cuts: list[datetime], label_days: int, progress: Progress
) -> RankingSet:
    """One label window per cut, states as of the cut; the generators were fitted before the earliest."""
    lessons = RankingLessons()
    for number, cut in enumerate(cuts):
        eligible = eligible_at(data.interactions, cut)
        items = ItemState.of(data.items, data.catalogue, cut, eligibility(data.catalogue, eligible))
        truth = truth_between(data.interactions, cut, cut + timedelta(days=label_days), eligible)
        rows = truth.rows_of(data.users_at(cut))
        for start in range(0, rows.num_rows, USERS_AT_ONCE):
            users = Users.of(rows[start : start + USERS_AT_ONCE], data.catalogue, cut.timestamp())
            candidates = propose(generators, users, data.catalogue, items)
            lessons.add(candidates, truth.holds(users.ids, candidates.user, candidates.item, data.catalogue))
        progress("ranking set", (number + 1) / len(cuts), f"label window from {cut:%Y-%m-%d}")
    return lessons.gathered()

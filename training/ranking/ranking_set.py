"""The ranker's training set: what the generators would have proposed at earlier moments, and what was then bought."""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from training.data import Data, eligibility, eligible_at
from training.splits import truth_between
from zhiyin.contract import USER_ID
from zhiyin.recommender.candidates import CandidateGenerator
from zhiyin.recommender.candidates.base import Progress
from zhiyin.recommender.features import Candidates, propose, users_at_once
from zhiyin.recommender.ranker import matrix
from zhiyin.recommender.state.catalogue import Floats, ItemState
from zhiyin.recommender.state.users import Users

NEGATIVES = 0.4  # share of the candidates not taken that teach the ranker: .001 worse than all, in half the time
HELD_OUT = 20  # one user in so many is kept from the ranker, to calibrate it


@dataclass(frozen=True)
class RankingSet:
    """Rows of candidates: features float32 [rows, features], label 0 or 1 [rows], and rows per user in order."""

    names: list[str]
    features: Floats
    label: npt.NDArray[np.int8]
    group: npt.NDArray[np.int64]


class RankingSetBuilder:
    """Gathers a ranking set batch by batch.

    Users without a proposed item that they then took teach a ranker nothing and are left out, unless told to ``keep``.
    Of the candidates that were not taken a random share ``negatives`` is kept; all of what was taken is.
    """

    def __init__(self, negatives: float = 1.0, seed: int = 0) -> None:
        self._negatives = negatives
        self._random = np.random.default_rng(seed)
        self._names: list[str] = []
        self._blocks: list[tuple[Floats, npt.NDArray[np.int8], npt.NDArray[np.int64]]] = []

    def __len__(self) -> int:
        return sum(len(taken) for _, taken, _ in self._blocks)

    def add(
        self, candidates: Candidates, label: npt.NDArray[np.bool_], keep: npt.NDArray[np.bool_] | None = None
    ) -> None:
        """A batch of users' candidates, and whether each was taken. ``keep``: bool [users]."""
        self._names = self._names or sorted(candidates.columns)
        users = np.bincount(candidates.user, label) > 0 if keep is None else keep
        rows = users[candidates.user]
        if self._negatives < 1:
            rows &= label | (self._random.random(len(label)) < self._negatives)
        features = matrix(candidates, self._names)[rows]
        self._blocks.append((features, label[rows].astype(np.int8), np.bincount(candidates.user[rows])))

    def gathered(self) -> RankingSet:
        features = np.concatenate([rows for rows, _, _ in self._blocks])
        labels = np.concatenate([taken for _, taken, _ in self._blocks])
        group = np.concatenate([size for _, _, size in self._blocks])
        return RankingSet(self._names, features, labels, group[group > 0])


def held_out(user_ids: list[str]) -> npt.NDArray[np.bool_]:
    """Which users calibrate [users]: by a hash of the id, so that a user stays on its side from run to run."""
    return np.array([zlib.crc32(user.encode()) % HELD_OUT == 0 for user in user_ids], bool)


def build_ranking_set(
    data: Data,
    teachers: Iterable[list[CandidateGenerator]],
    cuts: list[datetime],
    label_days: int,
    progress: Progress,
    seed: int = 0,
) -> tuple[RankingSet, RankingSet | None]:
    """One label window per cut, states as of the cut; ``teachers``: for each cut the generators, fitted before it.

    The ranker's lessons, and all rows of the users that are held out from it: of those, too, who then took nothing.
    """
    lessons, trial = RankingSetBuilder(NEGATIVES, seed), RankingSetBuilder()
    size = users_at_once(len(data.catalogue))
    for number, (cut, generators) in enumerate(zip(cuts, teachers, strict=True)):
        eligible = eligible_at(data.interactions, cut)
        items = ItemState.of(data.items, data.catalogue, cut, eligibility(data.catalogue, eligible))
        truth = truth_between(data.interactions, cut, cut + timedelta(days=label_days), eligible)
        everyone = data.users_at(cut)
        apart = pa.array(held_out(everyone[USER_ID].to_pylist()))
        taught, tried = truth.rows_of(everyone.filter(pc.invert(apart))), everyone.filter(apart)
        for gathered, rows in ((lessons, taught), (trial, tried)):
            for start in range(0, rows.num_rows, size):
                users = Users.of(rows[start : start + size], data.catalogue, cut.timestamp())
                candidates = propose(generators, users, data.catalogue, items)
                label = truth.holds(users.ids, candidates.user, candidates.item, data.catalogue)
                gathered.add(candidates, label, users.with_history if gathered is trial else None)
        progress("ranking set", (number + 1) / len(cuts), f"label window from {cut:%Y-%m-%d}")
    return lessons.gathered(), trial.gathered() if len(trial) else None

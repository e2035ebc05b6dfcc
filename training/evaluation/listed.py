"""Probabilities of listed items: calibrated on the newest window, in which the evaluated bundle saw no event.

What is listed is the best of what was proposed, so that a calibration on all candidates promises too much. The lists of
the evaluated bundle in its holdout are out of its sample for every user; the refitted bundle takes their calibration.
"""

import zlib
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from training.evaluation.reliability import reliability
from training.protocols import Split
from training.ranking.fit_calibration import calibrate
from training.splits import States
from zhiyin.recommender.calibration import ACTIVITY, Calibration, Values
from zhiyin.recommender.features import users_at_once
from zhiyin.recommender.recommender import Recommender, Request
from zhiyin.recommender.state.catalogue import Floats, Integers

K = 10
USERS = 2_500  # drawn by a hash; each costs a list
FOLDS = 5  # of users: a calibration is judged on users that it did not see
REACHED = 0.02  # expected calibration error; above it no probability is shown


@dataclass(frozen=True)
class ListedRows:
    """Places of lists: scores, the users' activity, whether the user took the item, and the user's fold [rows]."""

    score: Values
    activity: Floats
    taken: npt.NDArray[np.bool_]
    fold: Integers

    @classmethod
    def of(cls, recommender: Recommender, split: Split, states: States, new_only: bool) -> Self:
        """The lists of a split's users, whether they then took something or nothing, at its moment."""
        split = split.only(split.drawn(USERS))
        hashes = np.array([zlib.crc32(user.encode()) for user in split.user_ids], np.int64)
        parts: list[tuple[Values, Floats, npt.NDArray[np.bool_], Integers]] = []
        size = users_at_once(len(recommender.item_state.pool))
        for start in range(0, len(split), size):
            users = states.users(split, start, min(start + size, len(split)))
            ranked = recommender.rank_users(users, K, Request(new_only=new_only))
            listed = ranked.chosen[users.with_history[ranked.candidates.user[ranked.chosen]]]
            user, item = ranked.candidates.user[listed], ranked.candidates.item[listed]
            unknown = np.zeros(len(ranked.candidates), np.float32)
            activity = ranked.candidates.columns.get(ACTIVITY, unknown)[listed]
            taken = split.holds(user + start, item)
            parts.append((ranked.score[listed], activity, taken, hashes[user + start] // 7 % FOLDS))
        if not parts:
            return cls(np.empty(0), np.empty(0, np.float32), np.empty(0, bool), np.empty(0, np.int64))
        score, activity, taken, fold = (np.concatenate(part) for part in zip(*parts, strict=True))
        return cls(score, activity, taken, fold)

    def calibrated(self) -> tuple[Calibration | None, float | None]:
        """The calibration on all rows and its expected error, measured on folds that it did not see.

        No calibration where the error is above ``REACHED``; neither where too little is known to tell.
        """
        promised = np.full(len(self.score), np.nan)
        for fold in range(FOLDS):
            inside = self.fold == fold
            if not inside.any():
                continue
            if not self.taken[~inside].any():
                return None, None
            others = calibrate(self.score[~inside], self.activity[~inside], self.taken[~inside].astype(np.float64))
            promised[inside] = others(self.score[inside], self.activity[inside])
        if not len(promised):
            return None, None
        error = float(reliability(promised, self.taken)["ece"])
        if error > REACHED:
            return None, error
        return calibrate(self.score, self.activity, self.taken.astype(np.float64)), error

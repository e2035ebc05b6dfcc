"""The ranker's training set: what the generators would have proposed at earlier moments, and what was then taken."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.protocols import Split
from training.splits import States
from zhiyin.recommender.bundle import Lists
from zhiyin.recommender.candidates import Generator
from zhiyin.recommender.features import Candidates, Scored, propose, users_at_once
from zhiyin.recommender.ranker import matrix
from zhiyin.recommender.recipe import Recipe
from zhiyin.recommender.state.catalogue import Catalogue, Floats, ItemState

HELD_OUT = 20  # one user in so many is kept from the ranker, to calibrate it

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class RankingSet:
    """Rows of candidates: features float32 [rows, features], label 0 or 1 [rows], and rows per user in order."""

    names: list[str]
    features: Floats
    label: npt.NDArray[np.int8]
    group: npt.NDArray[np.int64]

    @classmethod
    def joined(cls, sets: "Sequence[RankingSet]") -> "RankingSet":
        """The rows of several sets, which must have the same features.

        Raises:
            ValueError: there is none, or their features differ.
        """
        if not sets or any(each.names != sets[0].names for each in sets):
            raise ValueError("ranking sets of different features cannot be joined; make them anew")
        parts = ([getattr(each, name) for each in sets] for name in ("features", "label", "group"))
        return cls(sets[0].names, *(np.concatenate(part) for part in parts))


@dataclass(frozen=True)
class SplitRows:
    """What one split gives: the rows that the ranker learns from, and all rows of the users held out from it."""

    training: RankingSet
    holdout: RankingSet


class _Rows:
    """Gathers rows batch by batch.

    Users without a proposed item that they then took tell a ranker nothing and are left out, unless all are kept. Of
    the candidates that were not taken a random share ``negatives`` is kept; all of what was taken is.
    """

    def __init__(self, negatives: float, seed: int, everyone: bool) -> None:
        self._negatives, self._everyone = negatives, everyone
        self._random = np.random.default_rng(seed)
        self._names: list[str] = []
        self._blocks: list[tuple[Floats, npt.NDArray[np.int8], npt.NDArray[np.int64]]] = []

    def add(self, candidates: Candidates, label: Mask, chosen: Mask) -> None:
        """A batch of users' candidates, whether each was taken, and which users [users] take part."""
        self._names = self._names or sorted(candidates.columns)
        taken = np.bincount(candidates.user, label, len(chosen)) > 0
        rows = (chosen & (taken | self._everyone))[candidates.user]
        if self._negatives < 1:
            rows &= label | (self._random.random(len(label)) < self._negatives)
        features = matrix(candidates, self._names, np.flatnonzero(rows))
        self._blocks.append((features, label[rows].astype(np.int8), np.bincount(candidates.user[rows])))

    def gathered(self) -> RankingSet:
        features, labels, group = (np.concatenate([block[part] for block in self._blocks]) for part in range(3))
        return RankingSet(self._names, features, labels, group[group > 0])


def held_out(user_ids: list[str]) -> Mask:
    """Which users calibrate [users]: by a hash of the id, so that a user stays on its side from run to run."""
    return np.array([zlib.crc32(user.encode()) % HELD_OUT == 0 for user in user_ids], bool)


def ranking_rows(
    split: Split,
    generators: Sequence[Generator],
    states: States,
    items: ItemState,
    catalogue: Catalogue,
    recipe: Recipe,
    seed: int,
) -> dict[Lists, SplitRows]:
    """Candidates of a split's users at its moment, by the lists that a ranker orders.

    ``generators``: fitted on nothing but ``split.log``. Where lists may repeat what the user has, there are rows for
    whatever the user takes and for what is new to the user; else for the latter alone.
    """
    kinds: tuple[Lists, ...] = ("all", "new") if recipe.repeats else ("new",)
    apart = held_out(split.user_ids)
    split = split.only(apart | (split.relevant > 0))
    apart = held_out(split.user_ids)
    rows = {kind: (_Rows(recipe.negatives, seed, False), _Rows(1.0, seed, True)) for kind in kinds}
    size = users_at_once(len(items.pool))
    for start in range(0, len(split), size):
        stop = min(start + size, len(split))
        users = states.users(split, start, stop)
        scored = Scored.by(generators, users, items)
        for kind in kinds:
            candidates = propose(scored, users, catalogue, items, new_only=kind == "new")
            label = split.holds(candidates.user + start, candidates.item)
            training, holdout = rows[kind]
            training.add(candidates, label, ~apart[start:stop])
            holdout.add(candidates, label, apart[start:stop] & users.with_history)
    return {kind: SplitRows(training.gathered(), holdout.gathered()) for kind, (training, holdout) in rows.items()}

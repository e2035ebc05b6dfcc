"""A recommender's results: lists for callers, and the arrays behind them for evaluation."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zhiyin.recommender.bundle import Lists
from zhiyin.recommender.explanation import Evidence
from zhiyin.recommender.features import Candidates, Scored
from zhiyin.recommender.slate.pick import Picked
from zhiyin.recommender.state.catalogue import Integers, ItemState
from zhiyin.recommender.state.users import Users


@dataclass(frozen=True)
class Recommendation:
    """One place of a list.

    ``score`` compares within the list only; ``probability``: the chance that the user takes the item in the label days
    from ``as_of`` on, None where it is unknown; ``evidence`` is ready for JSON. ``contributions``, where
    asked for: what each feature added to the score, and ``base``, from which every score starts; they sum to it.
    """

    item_id: str
    title: str
    rank: int
    score: float
    probability: float | None
    reason: str | None
    evidence: list[Evidence]
    contributions: dict[str, float] | None = None


@dataclass(frozen=True)
class Slate:
    """A user's list, and labels of what was missing when it was made."""

    user_id: str
    items: list[Recommendation]
    missing: list[str]


@dataclass(frozen=True)
class Ranked:
    """Lists of a batch as arrays: generators' scores, candidates, their scores, and the picked ones.

    ``lists``: which ranker scored them; ``new_only``: whether items that a user has were left out; ``items``: the state
    of the items that were eligible.
    """

    users: Users
    scored: Scored
    candidates: Candidates
    score: npt.NDArray[np.float64]
    probability: npt.NDArray[np.float64]  # NaN where unknown
    picked: Picked
    lists: Lists
    new_only: bool
    items: ItemState

    @property
    def chosen(self) -> Integers:
        """Positions of the picked candidates."""
        return self.picked.position

    @property
    def rank(self) -> Integers:
        return self.picked.rank

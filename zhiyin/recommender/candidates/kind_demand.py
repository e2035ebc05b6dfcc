"""Kind demand: items in demand now, of the kinds of items that the user takes. Our own; no paper."""

from pathlib import Path
from typing import Self

import numpy as np

from zhiyin.recommender.candidates.base import NOT_A_CANDIDATE, CandidateGenerator, Context
from zhiyin.recommender.state.catalogue import Catalogue, Floats, ItemState
from zhiyin.recommender.state.history import History
from zhiyin.recommender.state.users import Users


class KindDemand(CandidateGenerator):
    """Decayed baskets of the user with items of the kind, times the item's share of the kind's buyers of 28 days."""

    name = "kind_demand"
    quota = 60

    def __init__(self, catalogue: Catalogue) -> None:
        self.kind = catalogue.kind

    @classmethod
    def fit(cls, history: History, context: Context) -> Self:
        return cls(context.catalogue)

    def score(self, users: Users, items: ItemState) -> Floats:
        n_kinds = int(self.kind.max(initial=0)) + 1
        demand = items.column("users_28d") + np.float32(0.01) * items.column("users_90d")
        total = np.bincount(self.kind, demand, n_kinds)[self.kind]
        share = np.divide(demand, total, out=np.zeros(len(demand)), where=total > 0)
        habits = np.zeros((len(users), n_kinds))
        np.add.at(habits, (users.repeats.user, self.kind[users.repeats.item]), np.sqrt(users.repeats.long))
        scores = (habits[:, self.kind[items.pool]] * share[items.pool]).astype(np.float32)
        return np.where(scores > 0, scores, NOT_A_CANDIDATE)

    def save(self, folder: Path) -> None:
        """Nothing: what it reads is the bundle's catalogue and the items' state."""

    @classmethod
    def load(cls, folder: Path, context: Context) -> Self:
        return cls(context.catalogue)

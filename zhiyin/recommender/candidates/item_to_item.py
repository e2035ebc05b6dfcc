"""Item to item: items that are taken together with the user's items."""

from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import scipy.sparse as sp
from safetensors.numpy import load_file

from zhiyin.recommender.candidates.base import NOT_A_CANDIDATE, CandidateGenerator, Context, profile, recency, taste
from zhiyin.recommender.candidates.item_weights import (
    MEMORY_LIMIT,
    RANK,
    Exact,
    ItemWeights,
    LowRank,
    exact_bytes,
)
from zhiyin.recommender.candidates.space import Choice, Range, Space
from zhiyin.recommender.state.catalogue import Floats, Integers, ItemState
from zhiyin.recommender.state.history import History
from zhiyin.recommender.state.users import Users
from zhiyin.store import write_arrays

BEST_SELLERS = 4_000  # the matrix is dense: memory and time grow with its square and cube (64 MB, about 3 s)


class ItemToItem(CandidateGenerator):
    """EASE (Steck 2019, arXiv:1905.03375) on the most popular items, applied to a recency-weighted profile.

    Less popular items are left to the other generators. Where the exact matrix would take more than ``memory_limit``
    bytes, a low-rank form replaces it.
    """

    name = "item_to_item"
    quota = 80
    space: ClassVar[Space] = {
        "ridge": Range(10.0, 5_000.0, log=True),
        "decay": Range(0.7, 1.0),
        "counted": Choice((False, True)),
    }

    def __init__(self, n_items: int, items: Integers, weights: ItemWeights, decay: float = 1.0) -> None:
        self.n_items = n_items
        self.decay = decay  # of an item's weight in the profile with every basket since the latest that held it
        self.items = items  # catalogue index of each row and column of weights
        self.weights = weights  # [best-sellers, best-sellers]

    @classmethod
    def fit(
        cls,
        history: History,
        context: Context,
        best_sellers: int = BEST_SELLERS,
        ridge: float = 300.0,
        decay: float = 1.0,
        counted: bool = False,
        memory_limit: int = MEMORY_LIMIT,
    ) -> Self:
        owned, count = np.unique(history.user * history.n_items + history.item, return_counts=True)
        user, item = owned // history.n_items, owned % history.n_items
        buyers = np.bincount(item, minlength=history.n_items)
        best = np.sort(np.argsort(-buyers, kind="stable")[: min(best_sellers, int((buyers > 0).sum()))])
        column = np.full(history.n_items, -1)
        column[best] = np.arange(len(best))
        keep = column[item] >= 0
        values = np.sqrt(count[keep]) if counted else np.ones(keep.sum())
        place = (user[keep], column[item[keep]])
        matrix = sp.csr_array((values.astype(np.float32), place), (history.n_users, len(best)))
        if exact_bytes(len(best)) <= memory_limit:
            return cls(history.n_items, best, Exact.fit(matrix, ridge), decay)
        needs, may = exact_bytes(len(best)) / 2**30, memory_limit / 2**30
        note = f"EASE on {len(best):,} items takes {needs:.1f} GiB, its limit is {may:.1f}: low rank ({RANK}) instead"
        context.progress(cls.name, 0.0, note)
        return cls(history.n_items, best, LowRank.fit(matrix, ridge, context.seed), decay)

    def _asked(self, users: Users, factor: Floats) -> sp.csr_array:
        """Users' own best-sellers, the recent and frequent weighing more: sparse [users, best-sellers].

        ``factor``: of each entry of the users' repeats.
        """
        weights = np.sqrt(users.repeats.long) * factor
        if self.decay < 1:
            weights = weights * recency(users, self.n_items, self.decay)
        return profile(users, weights, self.n_items)[:, self.items]

    def score(self, users: Users, items: ItemState) -> Floats:
        asked = self._asked(users, taste(users, self.graded))
        scores = np.full((len(users), len(items.pool)), NOT_A_CANDIDATE, np.float32)
        found = self.weights.times(asked)
        known, place = np.diff(asked.indptr) > 0, items.place[self.items]
        scores[np.ix_(known, place[place >= 0])] = found[np.ix_(known, place >= 0)]
        return scores

    def save(self, folder: Path) -> None:
        parts = {"items": self.items, "decay": np.array([self.decay])}
        write_arrays(folder / "ease.safetensors", parts | self.weights.arrays())

    @classmethod
    def load(cls, folder: Path, context: Context) -> Self:
        tensors = load_file(folder / "ease.safetensors")
        exact = "weights" in tensors
        weights = Exact(tensors["weights"].astype(np.float32)) if exact else LowRank(tensors["left"])
        return cls(len(context.text), tensors["items"], weights, float(tensors["decay"][0]))

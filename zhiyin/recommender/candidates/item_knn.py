"""Item-kNN: items with the same buyers, by BM25 or cosine (Sarwar et al. 2001, WWW)."""

from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
import scipy.sparse as sp

from zhiyin.recommender.candidates.base import (
    NOT_A_CANDIDATE,
    CandidateGenerator,
    Context,
    PoolCache,
    profile,
    recency,
    taste,
)
from zhiyin.recommender.candidates.neighbours import nearest_items, read_neighbours, write_neighbours
from zhiyin.recommender.candidates.space import Choice, Range, Space
from zhiyin.recommender.state.catalogue import Floats, ItemState
from zhiyin.recommender.state.history import History
from zhiyin.recommender.state.users import Users

MOST_ITEMS = 15_000  # the most frequent, which have neighbours at all: time grows with their square
K1 = 1.2


class ItemKnn(CandidateGenerator):
    """The ``neighbours`` nearest items of each item of the user's recency-weighted profile, similarities added up.

    BM25 takes an item for a document and its buyers for words (Robertson 1994; as in the library implicit): users
    with many items weigh less, and ``length`` (0 to 1) discounts popular items. ``itself``: an item is its own
    neighbour, so that lists hold what the user has where they may. Memory grows with items x neighbours.
    """

    name = "item_knn"
    quota = 60
    space: ClassVar[Space] = {
        "measure": Choice(("bm25", "cosine")),
        "neighbours": Range(10, 500, log=True),
        "length": Range(0.0, 1.0),
        "decay": Range(0.5, 1.0),
    }

    def __init__(self, similar: sp.csr_array, decay: float) -> None:
        self.similar = similar  # [items, items], row: the item that the user has
        self.decay = decay
        self._pool = PoolCache()

    @classmethod
    def fit(
        cls,
        history: History,
        context: Context,
        measure: Literal["bm25", "cosine"] = "bm25",
        neighbours: int = 100,
        length: float = 0.5,
        decay: float = 1.0,
        itself: bool = True,
        most_items: int = MOST_ITEMS,
    ) -> Self:
        often = np.argsort(-history.item_counts, kind="stable")[: min(most_items, int((history.item_counts > 0).sum()))]
        kept = np.sort(often)
        n, column = len(kept), np.full(history.n_items, -1)
        column[kept] = np.arange(n)
        there = column[history.item] >= 0
        place = (column[history.item[there]], history.user[there])
        weights = sp.coo_array((np.ones(there.sum()), place), (n, history.n_users)).tocsr().astype(np.float32)
        sums = weights.sum(axis=1)
        row = np.repeat(np.arange(n), np.diff(weights.indptr))
        if measure == "bm25":
            rarity = np.log(n) - np.log1p(np.bincount(weights.indices, minlength=history.n_users))
            norm = K1 * (1 - length + length * sums / sums.mean())
            weights.data *= (K1 + 1) / (norm[row] + weights.data) * rarity[weights.indices]
        else:
            weights.data /= np.sqrt(np.bincount(row, weights.data**2, n))[row]
        similar = nearest_items(weights, kept, history.n_items, neighbours, itself, context.progress)
        return cls(similar, decay)

    def score(self, users: Users, items: ItemState) -> Floats:
        n_items = len(items.eligible)
        weights = np.sqrt(users.repeats.long) * recency(users, n_items, self.decay) * taste(users, self.graded)
        pool = self._pool.get(items, lambda: self.similar[:, items.pool])
        found = (profile(users, weights, n_items) @ pool).toarray()
        return np.where(found > 0, found, NOT_A_CANDIDATE).astype(np.float32)

    def save(self, folder: Path) -> None:
        write_neighbours(folder / "similar.safetensors", self.similar, decay=self.decay)

    @classmethod
    def load(cls, folder: Path, context: Context) -> Self:
        similar, facts = read_neighbours(folder / "similar.safetensors", len(context.text))
        return cls(similar, facts["decay"])

"""Item to item: what people who buy these items buy as well."""

from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from safetensors.numpy import load_file

from zhiyin.recommender.candidates.base import NOT_A_CANDIDATE, CandidateGenerator, Context, profile, recency
from zhiyin.recommender.candidates.space import Choice, Range, Space
from zhiyin.recommender.catalogue import Floats, Integers, ItemState
from zhiyin.recommender.history import History
from zhiyin.recommender.users import Users
from zhiyin.store import write_arrays

BEST_SELLERS = 4_000  # the matrix is dense: memory and time grow with its square and cube (64 MB, about 3 s)


class ItemToItem(CandidateGenerator):
    """EASE (Steck 2019, arXiv:1905.03375) on the best-sellers, asked with a recency-weighted profile.

    Items past the best-sellers are no candidates here; the other generators reach them.
    """

    name = "item_to_item"
    quota = 80
    space: ClassVar[Space] = {
        "ridge": Range(10.0, 5_000.0, log=True),
        "decay": Range(0.7, 1.0),
        "counted": Choice((False, True)),
    }

    def __init__(self, n_items: int, items: Integers, weights: Floats, decay: float = 1.0) -> None:
        self.n_items = n_items
        self.decay = decay  # of an item's weight in the profile with every basket since the latest that held it
        self.items = items  # catalogue index of each row and column of weights
        self.weights = weights  # float32 [best-sellers, best-sellers], zero diagonal

    @classmethod
    def fit(
        cls,
        history: History,
        context: Context,
        best_sellers: int = BEST_SELLERS,
        ridge: float = 300.0,
        decay: float = 1.0,
        counted: bool = False,
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
        gram = (matrix.T @ matrix).toarray()
        gram[np.diag_indices_from(gram)] += ridge
        factor, _ = scipy.linalg.cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
        inverse, info = scipy.linalg.lapack.spotri(factor, lower=1, overwrite_c=1)
        if info:
            raise ValueError(f"EASE: the Gram matrix of {len(best)} items could not be inverted (LAPACK info {info})")
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        weights = -inverse / np.diag(inverse)
        np.fill_diagonal(weights, 0.0)
        # Half precision in the bundle; rounded here so that a loaded model scores as the fitted one.
        return cls(history.n_items, best, weights.astype(np.float16).astype(np.float32), decay)

    def _asked(self, users: Users) -> sp.csr_array:
        """Users' own best-sellers, the recent and frequent weighing more: sparse [users, best-sellers]."""
        weights = np.sqrt(users.repeats.long)
        if self.decay < 1:
            weights = weights * recency(users, self.n_items, self.decay)
        return profile(users, weights, self.n_items)[:, self.items]

    def score(self, users: Users, items: ItemState) -> Floats:
        asked = self._asked(users)
        scores = np.full((len(users), len(items.eligible)), NOT_A_CANDIDATE, np.float32)
        # Sparse times dense goes user by user, so a user's sums have one order in every batch.
        found = asked @ self.weights
        known = np.diff(asked.indptr) > 0
        scores[np.ix_(known, self.items)] = found[known]
        return scores

    def closest(self, users: Users, user: Integers, item: Integers) -> Integers:
        """For each (user, item) pair the user's own item that speaks most for it, -1 where none does.

        ``user`` holds rows of ``users``, ``item`` catalogue indices.
        """
        column = np.full(self.n_items, -1)
        column[self.items] = np.arange(len(self.items))
        asked = self._asked(users)
        counts = np.diff(asked.indptr)[user]
        pair = np.repeat(np.arange(len(user)), counts)
        entry = np.arange(len(pair)) - np.repeat(np.cumsum(counts) - counts, counts) + asked.indptr[user][pair]
        own, target = asked.indices[entry], column[item][pair]
        weight = np.where(target >= 0, asked.data[entry] * self.weights[own, target], 0.0)
        # The strongest of each pair; among equals the first in catalogue order.
        order = np.lexsort((own, -weight, pair))
        pairs, first = np.unique(pair[order], return_index=True)
        strongest = order[first]
        found = np.full(len(user), -1)
        found[pairs] = np.where(weight[strongest] > 0, self.items[own[strongest]], -1)
        return found

    def save(self, folder: Path) -> None:
        weights = self.weights.astype(np.float16)
        write_arrays(
            folder / "ease.safetensors", {"items": self.items, "weights": weights, "decay": np.array([self.decay])}
        )

    @classmethod
    def load(cls, folder: Path, context: Context) -> Self:
        tensors = load_file(folder / "ease.safetensors")
        return cls(
            len(context.text), tensors["items"], tensors["weights"].astype(np.float32), float(tensors["decay"][0])
        )

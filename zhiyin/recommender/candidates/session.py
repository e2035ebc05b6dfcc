"""Session: what goes with what the user does right now: taken in the same baskets, of like text, found by the words.

Similarity of items by baskets is the cosine of Sarwar et al. (2001, WWW), shrunk for items that are seldom taken.
"""

from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import scipy.sparse as sp
from safetensors.numpy import load_file

from zhiyin.recommender.candidates.base import NOT_A_CANDIDATE, CandidateGenerator, Context, PoolCache, top_items
from zhiyin.recommender.candidates.space import Range, Space
from zhiyin.recommender.candidates.words import WordIndex
from zhiyin.recommender.state.catalogue import Catalogue, Floats, ItemState
from zhiyin.recommender.state.history import History
from zhiyin.recommender.state.users import Users
from zhiyin.store import write_arrays

MOST_ITEMS = 15_000  # the most frequent, which have neighbours at all: time grows with their square
ITEMS_AT_ONCE = 1_024
MOST_IN_A_BASKET = 200  # larger ones tell little of what goes with what
FOUND = 50  # items that the words of a search stand for


class Session(CandidateGenerator):
    """Scores of what goes with the session's items, added up by what each event says (state/session.py).

    An item that was looked at and not taken is a candidate, too. Users without a session have none.
    """

    name = "session"
    quota = 60
    of_sessions = True
    space: ClassVar[Space] = {"neighbours": Range(10, 200, log=True), "like_text": Range(0.0, 0.5)}

    def __init__(self, similar: sp.csr_array, text: Floats, catalogue: Catalogue, like_text: float) -> None:
        self.similar = similar  # [items, items], row: the item of the session
        self.text = text / np.maximum(np.linalg.norm(text, axis=1, keepdims=True), 1e-9)
        self.like_text = like_text
        self.words = WordIndex(catalogue)
        self._pool = PoolCache()

    @classmethod
    def fit(
        cls,
        history: History,
        context: Context,
        neighbours: int = 60,
        shrink: float = 20.0,
        like_text: float = 0.1,
        most_items: int = MOST_ITEMS,
    ) -> Self:
        taken = history.taken
        item, basket = history.item[taken], history.user[taken] * (int(history.basket.max(initial=0)) + 1)
        basket = np.unique(basket + history.basket[taken], return_inverse=True)[1]
        pairs = np.unique(basket * history.n_items + item)
        basket, item = pairs // history.n_items, pairs % history.n_items
        small = (np.bincount(basket) <= MOST_IN_A_BASKET)[basket] if len(basket) else np.empty(0, bool)
        basket, item = basket[small], item[small]
        counts = np.bincount(item, minlength=history.n_items)
        kept = np.sort(np.argsort(-counts, kind="stable")[: min(most_items, int((counts > 0).sum()))])
        column = np.full(history.n_items, -1)
        column[kept] = np.arange(len(kept))
        there = column[item] >= 0
        held = sp.coo_array((np.ones(there.sum(), np.float32), (column[item[there]], basket[there]))).tocsr()
        length = np.sqrt(counts[kept] + shrink)
        rows, columns, values = [], [], []
        for start in range(0, len(kept), ITEMS_AT_ONCE):
            found = (held[start : start + ITEMS_AT_ONCE] @ held.T).toarray()
            here = np.arange(len(found))
            found[here, start + here] = 0.0
            found /= length[start + here][:, None] * length
            best = top_items(found, neighbours)
            rows.append(np.repeat(kept[start + here], best.shape[1]))
            columns.append(kept[best].ravel())
            values.append(np.take_along_axis(found, best, axis=1).ravel())
        place = (np.concatenate(rows), np.concatenate(columns))
        similar = sp.csr_array((np.concatenate(values), place), (history.n_items,) * 2, dtype=np.float32)
        similar.eliminate_zeros()
        similar.sort_indices()
        return cls(similar, context.text, context.catalogue, like_text)

    def score(self, users: Users, items: ItemState) -> Floats:
        scores = np.full((len(users), len(items.pool)), NOT_A_CANDIDATE, np.float32)
        if users.session is None:
            return scores
        asked = self._asked(users, items)
        active = np.flatnonzero(np.diff(asked.indptr))
        pool, text = self._pool.get(items, lambda: (self.similar[:, items.pool], self.text[items.pool].T))
        found = (asked[active] @ pool).toarray()
        wanted = asked[active] @ self.text
        wanted /= np.maximum(np.linalg.norm(wanted, axis=1, keepdims=True), 1e-9)
        found += self.like_text * np.maximum(wanted @ text, 0.0)
        looked = self._looked(users, items, asked.shape)[active][:, items.pool].toarray()
        found = np.where(found + looked > 0, found + looked, NOT_A_CANDIDATE)
        scores[active] = found
        return scores

    def _asked(self, users: Users, items: ItemState) -> sp.csr_array:
        """What speaks for items like it: [users, items], from what was liked and what a search finds."""
        signals = users.session
        assert signals is not None
        liked = signals.liked & (signals.item >= 0)
        user, item, weight = signals.user[liked], signals.item[liked], signals.weight[liked]
        for place in np.flatnonzero(signals.liked & (signals.item < 0)):
            found, fit = self.words.find(str(signals.query[place]), items.eligible, FOUND)
            user, item = np.r_[user, np.full(len(found), signals.user[place])], np.r_[item, found]
            weight = np.r_[weight, signals.weight[place] * fit / max(len(found), 1)]
        return sp.csr_array((weight, (user, item)), (len(users), len(items.eligible)), dtype=np.float32)

    def _looked(self, users: Users, items: ItemState, shape: tuple[int, int]) -> sp.csr_array:
        """What was looked at or searched for and not taken: each by what the event says."""
        signals = users.session
        assert signals is not None
        kept = signals.liked & ~signals.taken & (signals.item >= 0)
        user, item, weight = signals.user[kept], signals.item[kept], signals.weight[kept]
        for place in np.flatnonzero(signals.liked & (signals.item < 0)):
            found, fit = self.words.find(str(signals.query[place]), items.eligible, FOUND)
            user, item = np.r_[user, np.full(len(found), signals.user[place])], np.r_[item, found]
            weight = np.r_[weight, signals.weight[place] * fit]
        return sp.csr_array((weight, (user, item)), shape, dtype=np.float32)

    def save(self, folder: Path) -> None:
        similar = {"data": self.similar.data, "indices": self.similar.indices, "indptr": self.similar.indptr}
        write_arrays(folder / "similar.safetensors", similar | {"like_text": np.array([self.like_text])})

    @classmethod
    def load(cls, folder: Path, context: Context) -> Self:
        parts = load_file(folder / "similar.safetensors")
        n = len(context.text)
        similar = sp.csr_array((parts["data"], parts["indices"], parts["indptr"]), (n, n))
        return cls(similar, context.text, context.catalogue, float(parts["like_text"][0]))

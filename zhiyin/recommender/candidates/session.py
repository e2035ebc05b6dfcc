"""Session: what goes with what the user does right now: taken in the same baskets, of like text, found by the words.

Similarity of items by baskets is the cosine of Sarwar et al. (2001, WWW), shrunk for items that are seldom taken.
"""

from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import scipy.sparse as sp

from zhiyin.recommender.candidates.base import NOT_A_CANDIDATE, CandidateGenerator, Context, PoolCache
from zhiyin.recommender.candidates.neighbours import nearest_items, read_neighbours, write_neighbours
from zhiyin.recommender.candidates.space import Range, Space
from zhiyin.recommender.candidates.words import WordIndex
from zhiyin.recommender.state.catalogue import Catalogue, Floats, ItemState
from zhiyin.recommender.state.history import History
from zhiyin.recommender.state.users import Users

MOST_ITEMS = 15_000  # the most frequent, which have neighbours at all: time grows with their square
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
        held.data /= np.repeat(np.sqrt(counts[kept] + shrink), np.diff(held.indptr)).astype(np.float32)
        similar = nearest_items(held, kept, history.n_items, neighbours, itself=False)
        return cls(similar, context.text, context.catalogue, like_text)

    def score(self, users: Users, items: ItemState) -> Floats:
        scores = np.full((len(users), len(items.pool)), NOT_A_CANDIDATE, np.float32)
        if users.session is None:
            return scores
        asked, looked = self._signals(users, items)
        active = np.flatnonzero(np.diff(asked.indptr))
        pool, text = self._pool.get(items, lambda: (self.similar[:, items.pool], self.text[items.pool].T))
        found = (asked[active] @ pool).toarray()
        wanted = asked[active] @ self.text
        wanted /= np.maximum(np.linalg.norm(wanted, axis=1, keepdims=True), 1e-9)
        found += self.like_text * np.maximum(wanted @ text, 0.0)
        found += looked[active][:, items.pool].toarray()
        scores[active] = np.where(found > 0, found, NOT_A_CANDIDATE)
        return scores

    def _signals(self, users: Users, items: ItemState) -> tuple[sp.csr_array, sp.csr_array]:
        """Two weights of each item, by what the events say: sparse [users, items] each.

        What speaks for items like it: what was liked, and what a search finds. What is a candidate itself: what was
        looked at or found, and not taken.
        """
        signals = users.session
        assert signals is not None
        liked = signals.liked & (signals.item >= 0)
        user, item, weight = signals.user[liked], signals.item[liked], signals.weight[liked]
        open_to = np.where(signals.taken[liked], 0.0, weight)
        for place in np.flatnonzero(signals.liked & (signals.item < 0)):
            found, fit = self.words.find(str(signals.query[place]), items.eligible, FOUND)
            user, item = np.r_[user, np.full(len(found), signals.user[place])], np.r_[item, found]
            says = signals.weight[place] * fit
            weight, open_to = np.r_[weight, says / max(len(found), 1)], np.r_[open_to, says]
        shape = len(users), len(items.eligible)
        asked, looked = (sp.csr_array((each, (user, item)), shape, dtype=np.float32) for each in (weight, open_to))
        return asked, looked

    def save(self, folder: Path) -> None:
        write_neighbours(folder / "similar.safetensors", self.similar, like_text=self.like_text)

    @classmethod
    def load(cls, folder: Path, context: Context) -> Self:
        similar, facts = read_neighbours(folder / "similar.safetensors", len(context.text))
        return cls(similar, context.text, context.catalogue, facts["like_text"])

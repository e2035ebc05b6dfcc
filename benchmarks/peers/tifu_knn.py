"""TIFU-KNN: decayed personal frequency, blended with that of the most similar users."""

from typing import ClassVar, Self

import numpy as np
import scipy.sparse as sp

from zhiyin.recommender.candidates.base import NOT_A_CANDIDATE, Context, Generator, top_items
from zhiyin.recommender.candidates.space import Range, Space
from zhiyin.recommender.state.catalogue import Floats, Integers, ItemState
from zhiyin.recommender.state.history import History
from zhiyin.recommender.state.users import Users


class TifuKnn(Generator):
    """Hu et al. 2020 (arXiv:2006.00556). A user's baskets fall into groups of ``group``, the newest first; decay inside
    a group and over the groups; mean over both. Similarity is Euclidean distance.

    It reads the users' sequences, so it sees no further back than their length.
    """

    name = "tifu_knn"
    quota = 60
    space: ClassVar[Space] = {
        "group": Range(2, 15),
        "inside": Range(0.6, 1.0),
        "between": Range(0.4, 1.0),
        "neighbours": Range(20, 500, log=True),
        "own": Range(0.0, 1.0),
    }

    def __init__(
        self, ids: list[str], vectors: sp.csr_array, shape: tuple[int, float, float], k: int, own: float
    ) -> None:
        self.ids = {name: place for place, name in enumerate(ids)}
        self.vectors = vectors  # [users of the log, items]
        self.shape = shape
        self.k = k
        self.own = own

    @classmethod
    def fit(
        cls,
        history: History,
        context: Context,
        group: int = 7,
        inside: float = 0.95,
        between: float = 0.8,
        neighbours: int = 300,
        own: float = 0.8,
    ) -> Self:
        opens = np.r_[True, np.diff(history.basket) != 0][: len(history)]
        basket = np.cumsum(opens)
        shape = (history.n_users, history.n_items)
        vectors = _vectors(history.user, history.item, basket, shape, (group, inside, between))
        return cls(history.user_ids, vectors, (group, inside, between), neighbours, own)

    def score(self, users: Users, items: ItemState) -> Floats:
        sequence = users.sequence
        shape = (len(users), len(items.eligible))
        mine = _vectors(sequence.user, sequence.item, sequence.basket, shape, self.shape)
        closeness = 2 * (mine @ self.vectors.T).toarray() - self.vectors.power(2).sum(axis=1)  # less own length
        place = np.array([self.ids.get(name, -1) for name in users.ids])
        known = np.flatnonzero(place >= 0)
        closeness[known, place[known]] = -np.inf
        best = top_items(closeness.astype(np.float32), min(self.k, closeness.shape[1] - 1))
        share = np.full(best.shape, np.float32(1 / max(best.shape[1], 1)))
        rows = np.repeat(np.arange(len(users)), best.shape[1])
        near = sp.csr_array((share.ravel(), (rows, best.ravel())), (len(users), self.vectors.shape[0]))
        found = (self.own * mine + (1 - self.own) * (near @ self.vectors)).toarray()
        found[np.diff(mine.indptr) == 0] = 0.0
        return np.where(found > 0, found, NOT_A_CANDIDATE).astype(np.float32)[:, items.pool]


def _vectors(
    user: Integers, item: Integers, basket: Integers, shape: tuple[int, int], decays: tuple[int, float, float]
) -> sp.csr_array:
    """Decayed frequencies [users, items]; ``basket`` grows with time within a user."""
    group, inside, between = decays
    held, one = np.unique((user * (int(basket.max(initial=0)) + 1) + basket) * shape[1] + item, return_index=True)
    user, item, basket = user[one], item[one], basket[one]
    del held
    _, place = np.unique(user * (int(basket.max(initial=0)) + 1) + basket, return_inverse=True)
    newest, oldest = np.full(shape[0], -1), np.full(shape[0], np.iinfo(np.int64).max)
    np.maximum.at(newest, user, place)
    np.minimum.at(oldest, user, place)
    age, count = newest[user] - place, (newest - oldest + 1)[user]
    nth, within = age // group, age % group
    groups = -(-count // group)
    size = np.minimum(group, count - nth * group)
    weight = between**nth * inside**within / size / groups
    vectors = sp.csr_array((weight.astype(np.float32), (user, item)), shape)
    vectors.sum_duplicates()
    return vectors

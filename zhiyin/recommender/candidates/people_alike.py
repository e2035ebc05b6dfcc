"""People alike: items that users with the same attributes take, such as an age band. Works for cold users."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp
from safetensors.numpy import load_file

from zhiyin.recommender.candidates.base import NOT_A_CANDIDATE, CandidateGenerator, Context, PoolCache
from zhiyin.recommender.candidates.space import Range, Space
from zhiyin.recommender.state.catalogue import SECONDS_PER_DAY, Floats, Integers, ItemState, words_of
from zhiyin.recommender.state.history import History
from zhiyin.recommender.state.users import Users
from zhiyin.store import read_json, write_arrays, write_json


class PeopleAlike(CandidateGenerator):
    """The share of a group's active users who took the item lately, averaged over the groups that the user is in.

    A grade below the user's usual is no agreement: it does not count as taken.

    A group has one attribute's value in common: every column of words of the users' state is an attribute. Shares of
    small groups are shrunk towards those of all users (``shrink``: as many users of the prior; empirical Bayes, Efron
    and Morris 1977). A user without a known value gets no candidates.
    """

    name = "people_alike"
    quota = 40
    space: ClassVar[Space] = {"shrink": Range(5.0, 500.0, log=True), "days": Range(28, 365, log=True)}

    def __init__(self, values: Mapping[str, list[str]], shares: Floats) -> None:
        self.values = values  # by attribute, those that have a group; groups stand in this order
        self.shares = shares  # [groups, items]
        self._pool = PoolCache()

    @classmethod
    def fit(cls, history: History, context: Context, shrink: float = 50.0, days: int = 90) -> Self:
        columns = words_of(history.user_ids, context.users(history.cut)) if context.users else {}
        recent = (history.at >= history.cut - days * SECONDS_PER_DAY) & ~(history.liking < 0)
        pairs = np.unique((history.user * history.n_items + history.item)[recent])
        shape = (history.n_users, history.n_items)
        took = sp.csr_array(
            (np.ones(len(pairs), np.float32), (pairs // history.n_items, pairs % history.n_items)), shape=shape
        )
        active = np.diff(took.indptr) > 0
        everybody = np.asarray(took.sum(axis=0)) / max(active.sum(), 1)
        values = {
            name: sorted(pc.unique(column.filter(pa.array(active))).drop_null().to_pylist())
            for name, column in columns.items()
        }
        member = _membership(columns, values, active)
        size = np.asarray(member.sum(axis=0))[:, None]
        shares = ((member.T @ took).toarray() + shrink * everybody) / (size + shrink)
        return cls(values, shares.astype(np.float32))

    def score(self, users: Users, items: ItemState) -> Floats:
        member = _membership(users.words, self.values, np.ones(len(users), bool))
        known = np.asarray(member.sum(axis=1))
        pool = self._pool.get(items, lambda: np.ascontiguousarray(self.shares[:, items.pool]))
        scores = (member @ pool) / np.maximum(known, 1)[:, None]
        return np.where((known > 0)[:, None] & (scores > 0), scores, NOT_A_CANDIDATE).astype(np.float32)

    def save(self, folder: Path) -> None:
        write_json(folder / "groups.json", dict(self.values))
        write_arrays(folder / "shares.safetensors", {"shares": self.shares})

    @classmethod
    def load(cls, folder: Path, context: Context) -> Self:
        return cls(read_json(folder / "groups.json"), load_file(folder / "shares.safetensors")["shares"])


def _membership(
    columns: Mapping[str, pa.Array], values: Mapping[str, list[str]], counted: npt.NDArray[np.bool_]
) -> sp.csr_array:
    """Which users [users] are in which group [groups], for those that are ``counted``; float32."""
    rows: list[Integers] = []
    groups: list[Integers] = []
    start = 0
    for name, known in values.items():
        if name in columns:
            codes = pc.fill_null(pc.index_in(columns[name], value_set=pa.array(known, pa.string())), -1).to_numpy()
            found = np.flatnonzero((codes >= 0) & counted)
            rows.append(found)
            groups.append(start + codes[found])
        start += len(known)
    row, group = (np.concatenate([*parts, np.empty(0, np.int64)]).astype(np.int64) for parts in (rows, groups))
    return sp.csr_array((np.ones(len(row), np.float32), (row, group)), shape=(len(counted), start))

"""Two bundles held against one answer, and the difference between them with its interval.

Each evaluation asks for what its own bundle can list: an earlier catalogue lacks the newest items, and to miss them
would be no failure. Here the answer is that of both together, and what a bundle does not know, it misses.
"""

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training.evaluation.figures import K
from training.evaluation.metrics import Values, bootstrap_means, interval, list_metrics
from zhiyin.contract import ITEM_ID, USER_ID
from zhiyin.recommender.state.catalogue import Integers
from zhiyin.store.sql import read_table

Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Gap:
    """Mean paired difference over ``users`` with its 95 % interval, and the mean of the one that was held against."""

    mean: float
    low: float
    high: float
    users: int
    base: float

    @classmethod
    def of(cls, ours: Values, theirs: Values) -> "Gap":
        """Of all users, by bootstrap."""
        gap = ours - theirs
        low, high = interval(bootstrap_means(gap[:, None]))
        return cls(float(gap.mean()), float(low[0]), float(high[0]), len(gap), float(theirs.mean()))

    @classmethod
    def of_one_among(cls, count: int, ours: Values, theirs: Values) -> "Gap":
        """With an interval so wide that all of ``count`` such intervals hold at once in 95 % (Bonferroni), by the
        normal distribution of a mean. Users without a figure (NaN) do not count.
        """
        known = ~np.isnan(ours) & ~np.isnan(theirs)
        gap = (ours - theirs)[known]
        mean, error = float(gap.mean()), float(gap.std()) / len(gap) ** 0.5
        reach = NormalDist().inv_cdf(1 - 0.025 / count) * error
        return cls(mean, mean - reach, mean + reach, len(gap), float(theirs[known].mean()))

    def __str__(self) -> str:
        return f"NDCG@{K} {self.mean:+.4f} ({self.low:+.4f} to {self.high:+.4f})"

    @property
    def figures(self) -> dict[str, float]:
        return {"mean": self.mean, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Answer:
    """The answer of two evaluations together, and the lists of both.

    ``true_user`` and ``true_item`` [pairs]: places in ``users`` and ``items``; ``lists``: of each bundle, items
    [users, K], -1 where there is nothing.
    """

    users: pa.Array
    items: pa.Array
    true_user: Integers
    true_item: Integers
    lists: tuple[Integers, Integers]

    @classmethod
    def of(cls, one: dict[str, Any], other: dict[str, Any]) -> "Answer":
        """From the files that two evaluations left.

        Raises:
            ValueError: they are of different windows, or protocols.
        """
        for fact in ("window", "protocol"):
            if one.get(fact) != other.get(fact):
                raise ValueError(
                    f"{one['bundle'][:12]} was evaluated on the {fact} {one.get(fact)}, {other['bundle'][:12]} on "
                    f"{other.get(fact)}: only evaluations on the same can be compared"
                )
        pairs = [_ids(report["truth_file"]) for report in (one, other)]
        truth = pa.concat_tables(pairs).group_by([USER_ID, ITEM_ID]).aggregate([]).combine_chunks()
        lists = [_ids(report["lists_file"], "rank") for report in (one, other)]
        users = pc.unique(truth[USER_ID].combine_chunks())
        items = pc.unique(pa.chunked_array([part for table in (truth, *lists) for part in table[ITEM_ID].chunks]))
        return cls(
            users,
            items,
            _places(truth[USER_ID], users),
            _places(truth[ITEM_ID], items),
            (_lists(lists[0], users, items), _lists(lists[1], users, items)),
        )

    def ndcg(self, of_items: Mask | None = None) -> tuple[Values, Values]:
        """NDCG@10 per user of both bundles, where all items or only some [items] count; NaN without such an answer."""
        counts = np.ones(len(self.items), bool) if of_items is None else of_items
        pairs = np.sort(self.true_user * len(self.items) + self.true_item)
        totals = np.bincount(self.true_user[counts[self.true_item]], minlength=len(self.users))

        def of(lists: Integers) -> Values:
            found = (lists >= 0) & np.isin(np.arange(len(self.users))[:, None] * len(self.items) + lists, pairs)
            return np.where(totals > 0, list_metrics(found & counts[lists], totals)["ndcg"], np.nan)

        return of(self.lists[0]), of(self.lists[1])


def _ids(path: str, *more: str) -> pa.Table:
    """User and item ids as texts, whatever wrote them; of lists, the first K."""
    table = read_table(path, columns=[USER_ID, ITEM_ID, *more])
    if more:
        table = table.filter(pc.less_equal(table["rank"], K))
    ids = {name: table[name].cast(pa.string()) for name in (USER_ID, ITEM_ID)}
    return pa.table(ids | {name: table[name] for name in more})


def _places(values: pa.ChunkedArray, known: pa.Array) -> Integers:
    """The index of each value in ``known``, -1 where it is missing."""
    return np.asarray(pc.fill_null(pc.index_in(values, value_set=known), -1).to_numpy(), np.int64)


def mask_of(values: pa.ChunkedArray, known: pa.Array) -> Mask:
    """Which of ``known`` are among the values."""
    places = _places(values, known)
    mask = np.zeros(len(known), bool)
    mask[places[places >= 0]] = True
    return mask


def _lists(table: pa.Table, users: pa.Array, items: pa.Array) -> Integers:
    """Items of each user's list [users, K], -1 where there is nothing."""
    lists = np.full((len(users), K), -1, np.int64)
    user = _places(table[USER_ID], users)
    known = user >= 0
    lists[user[known], table["rank"].to_numpy()[known] - 1] = _places(table[ITEM_ID], items)[known]
    return lists

"""Splits by time: what users did in a window after a cut is the truth that lists made at the cut are held against."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from zhiyin.contract import ITEM_ID, OCCURRED_AT, USER_ID
from zhiyin.recommender.state.catalogue import Catalogue, Integers, epoch_seconds


@dataclass(frozen=True)
class Truth:
    """Distinct (user, item) pairs of a window, items among the candidates of its start only; sorted by user, item."""

    table: pa.Table

    @cached_property
    def user_ids(self) -> pa.Array:
        """Users with at least one pair, ascending."""
        return pc.unique(self.table[USER_ID]).cast(pa.string())

    def rows_of(self, users: pa.Table) -> pa.Table:
        """The user states that have a truth."""
        return users.filter(pc.is_in(users[USER_ID].cast(pa.string()), value_set=self.user_ids))

    def relevant(self, user_ids: list[str]) -> Integers:
        """How many items each user's truth holds [users]."""
        counts = pc.value_counts(self.table[USER_ID].combine_chunks())
        places = pc.index_in(pa.array(user_ids, pa.string()), value_set=counts.field("values"))
        return np.asarray(pc.fill_null(counts.field("counts").take(places), 0).to_numpy(zero_copy_only=False))

    def pairs(self, user_ids: list[str], catalogue: Catalogue) -> tuple[Integers, Integers]:
        """Rows of ``user_ids`` and catalogue indices of the pairs, ascending; items outside the catalogue left out."""
        row = pc.index_in(self.table[USER_ID], value_set=pa.array(user_ids, pa.string()))
        user = np.asarray(pc.fill_null(row, -1).to_numpy(zero_copy_only=False)).astype(np.int64)
        item = catalogue.index_of(self.table[ITEM_ID])
        keep = (user >= 0) & (item >= 0)
        order = np.lexsort((item[keep], user[keep]))
        return user[keep][order], item[keep][order]

    def holds(self, user_ids: list[str], user: Integers, item: Integers, catalogue: Catalogue) -> npt.NDArray[np.bool_]:
        """Whether each (row of ``user_ids``, catalogue index) is in the truth."""
        true_user, true_item = self.pairs(user_ids, catalogue)
        n = len(catalogue)
        return np.isin(user * n + item, true_user * n + true_item)


def truth_between(interactions: pa.Table, start: datetime, end: datetime, candidates: pa.Array) -> Truth:
    """What was bought in [start, end) of the items in ``candidates``.

    Raises:
        ValueError: nothing was.
    """
    at = epoch_seconds(interactions[OCCURRED_AT])
    window = interactions.select([USER_ID, ITEM_ID]).filter(
        pa.array((at >= start.timestamp()) & (at < end.timestamp()))
    )
    pairs = pa.table({name: window[name].cast(pa.string()) for name in (USER_ID, ITEM_ID)})
    pairs = pairs.filter(pc.is_in(pairs[ITEM_ID], value_set=candidates)).group_by([USER_ID, ITEM_ID]).aggregate([])
    if not pairs.num_rows:
        raise ValueError(f"no interaction with a candidate from {start.isoformat()} to {end.isoformat()}")
    return Truth(pairs.sort_by([(USER_ID, "ascending"), (ITEM_ID, "ascending")]).combine_chunks())

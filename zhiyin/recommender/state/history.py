"""The interaction log as flat arrays: the input of every generator's fit."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from zhiyin.contract import EVENT_TYPES, ITEM_ID, OCCURRED_AT, USER_ID, taken_types
from zhiyin.recommender.state.catalogue import Catalogue, Floats, Integers, epoch_seconds
from zhiyin.recommender.state.grades import DISLIKED, RATING, Scale
from zhiyin.store.sql import read_table

COLUMNS = [USER_ID, ITEM_ID, "event_type", "value", "amount", "basket_id", OCCURRED_AT]


def read_interactions(path: Path) -> pa.Table:
    """The columns of the interactions mart that models read, ids dictionary-encoded."""
    return read_table(path, columns=COLUMNS, dictionaries=[USER_ID, ITEM_ID, "basket_id"])


def taken_codes(log: Collection[str]) -> tuple[int, ...]:
    """Codes, as of ``event_type_codes``, of the types by which users take, of those that a log has."""
    return tuple(EVENT_TYPES.index(kind) + 1 for kind in taken_types(log))


def event_type_codes(types: pa.Array | pa.ChunkedArray) -> Integers:
    """Each type's place in the contract, from 1; 0 for a type that the contract does not know."""
    codes = pc.index_in(types.cast(pa.string()), value_set=pa.array(EVENT_TYPES, pa.string()))
    return np.asarray(pc.fill_null(codes, -1).to_numpy(zero_copy_only=False)).astype(np.int64) + 1


@dataclass(frozen=True)
class History:
    """Interactions with items of one catalogue, ordered by user, time, basket and item.

    ``user``, ``item``, ``basket`` are indices; ``user_ids`` names the users; ``at`` is in epoch seconds; every event
    lies before ``cut``. A basket has one moment, its first.
    """

    user: Integers
    item: Integers
    basket: Integers
    type: Integers  # as in ``Users``
    value: Floats
    amount: Floats  # money paid, NaN where unknown
    at: npt.NDArray[np.float64]
    user_ids: list[str]
    n_items: int
    cut: float

    @classmethod
    def of(cls, interactions: pa.Table, catalogue: Catalogue, cut: datetime) -> "History":
        """Events before ``cut``; events on items outside the catalogue are left out."""
        users = interactions[USER_ID].cast(pa.string()).combine_chunks().dictionary_encode()
        user = np.asarray(users.indices.to_numpy(zero_copy_only=False)).astype(np.int64)
        items = interactions[ITEM_ID].cast(pa.string()).combine_chunks().dictionary_encode()
        item = catalogue.index_of(items.dictionary)[items.indices.to_numpy(zero_copy_only=False)]
        # Baskets in the order of their names, as in the marts; an event without a basket is a basket of its own.
        baskets = interactions["basket_id"].cast(pa.string()).combine_chunks().dictionary_encode()
        place = pc.rank(baskets.dictionary).to_numpy().astype(np.int64) - 1
        basket = np.asarray(pc.fill_null(baskets.indices, -1).to_numpy(zero_copy_only=False)).astype(np.int64)
        basket = np.where(basket < 0, -1, place[basket]) if len(place) else basket
        basket = np.where(basket < 0, len(baskets.dictionary) + np.arange(len(basket)), basket)
        event_type = event_type_codes(interactions["event_type"])
        value, amount = (
            pc.cast(interactions[name], pa.float32()).to_numpy(zero_copy_only=False) for name in ("value", "amount")
        )
        at = epoch_seconds(interactions[OCCURRED_AT])
        keep = np.flatnonzero((item >= 0) & (at < cut.timestamp()))
        # All items of a basket get its first moment: their order inside it carries no information.
        opened = np.full(int(basket.max(initial=-1)) + 1, np.inf)
        np.minimum.at(opened, basket[keep], at[keep])
        keep = keep[np.lexsort((item[keep], basket[keep], opened[basket[keep]], user[keep]))]
        return cls(
            user[keep],
            item[keep],
            basket[keep],
            event_type[keep],
            value[keep],
            amount[keep],
            opened[basket[keep]],
            [str(name) for name in users.dictionary.to_pylist()],
            len(catalogue),
            cut.timestamp(),
        )

    def __len__(self) -> int:
        return len(self.user)

    @property
    def n_users(self) -> int:
        return len(self.user_ids)

    def before(self, cut: datetime) -> "History":
        """The same log up to an earlier cut."""
        moment = cut.timestamp()
        if moment > self.cut:
            raise ValueError(f"this history ends at {datetime.fromtimestamp(self.cut)}, before {cut.isoformat()}")
        return replace(self.where(self.at < moment), cut=moment)

    def where(self, kept: npt.NDArray[np.bool_]) -> "History":
        """The events for which ``kept`` [events] is true, in the same order."""
        columns = {
            name: getattr(self, name)[kept] for name in ("user", "item", "basket", "type", "value", "amount", "at")
        }
        return replace(self, **columns)

    def of_types(self, *kinds: str) -> npt.NDArray[np.bool_]:
        """Whether an event is of one of these types [events]."""
        return np.isin(self.type, [EVENT_TYPES.index(kind) + 1 for kind in kinds])

    @cached_property
    def event_types(self) -> list[str]:
        """The types of its events, as the contract orders them."""
        return [kind for kind in EVENT_TYPES if self.of_types(kind).any()]

    @cached_property
    def taken(self) -> npt.NDArray[np.bool_]:
        """Whether the user takes the item by an event [events]."""
        return self.of_types(*taken_types(self.event_types))

    @cached_property
    def grade(self) -> Floats:
        """The grade of each event [events], NaN for what is no rating."""
        return np.where(self.type == RATING, self.value, np.nan).astype(np.float32)

    @cached_property
    def scale(self) -> Scale:
        """Of the grades of the log."""
        return Scale.of(self.value[self.type == RATING])

    @cached_property
    def liking(self) -> Floats:
        """How far each event's grade is from its user's usual one [events]; NaN for what is no rating."""
        return self.scale.liking(self.user, self.grade, self.n_users)

    @cached_property
    def types(self) -> Integers:
        """The types; ``DISLIKED`` for a grade below the user's usual."""
        return np.where(self.liking < 0, DISLIKED, self.type)

    @cached_property
    def item_counts(self) -> Integers:
        """Interactions of each item [items]."""
        return np.bincount(self.item, minlength=self.n_items)

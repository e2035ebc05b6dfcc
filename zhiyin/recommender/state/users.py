"""A batch of user states as flat arrays: the input of every model, from Parquet in batch and from a row in serving."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from zhiyin.contract import FEATURE_AT, USER_ID
from zhiyin.recommender.state.catalogue import (
    SECONDS_PER_DAY,
    Catalogue,
    Floats,
    Integers,
    epoch_seconds,
    numeric_columns,
    word_columns,
)
from zhiyin.recommender.state.grades import AGAINST, DISLIKED, RATING, UNKNOWN_SCALE, Scale
from zhiyin.recommender.state.history import event_type_codes
from zhiyin.recommender.state.signals import Signals


@dataclass(frozen=True)
class Repeats:
    """One entry per (user, item) ever taken, users in batch order. Days are counted back from the user's moment."""

    user: Integers
    item: Integers
    baskets: Floats
    quantity: Floats
    first_days: Floats
    last_days: Floats
    short: Floats  # baskets decayed with the short half-life
    long: Floats  # ... with the long one
    gap_days: Floats  # mean days between baskets with the item, NaN for one
    grade: Floats  # the latest that the user gave it, NaN for none


@dataclass(frozen=True)
class Sequence:
    """One entry per event of the users' latest history, oldest first, users in batch order."""

    user: Integers
    item: Integers
    at: npt.NDArray[np.float64]
    type: Integers
    value: Floats
    basket: Integers


@dataclass(frozen=True)
class Affinity:
    """One entry per user and category, or per user and label; users in batch order."""

    user: Integers
    code: Integers
    share: Floats

    @classmethod
    def none(cls) -> "Affinity":
        return cls(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))


@dataclass(frozen=True)
class Users:
    """A batch of users.

    ``at``: epoch seconds of each state row [users]; ``known``: whether the row holds a state at all; ``words``: columns
    of strings, such as an age band, null where unknown [users]. Entries of items outside the catalogue are left out.
    """

    ids: list[str]
    at: npt.NDArray[np.float64]
    known: npt.NDArray[np.bool_]
    columns: dict[str, Floats]
    repeats: Repeats
    sequence: Sequence
    affinity: Affinity  # to categories: shares of the user's events, which add up to 1
    words: dict[str, pa.Array] = field(default_factory=dict)
    label_affinity: Affinity = field(default_factory=Affinity.none)  # share of the events whose item has the label
    scale: Scale = UNKNOWN_SCALE  # of the grades of the log that the models know
    session: Signals | None = None  # what the live session says; None: there is none
    taken_types: tuple[int, ...] = ()  # codes of the types by which users of that log take; none: every type

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def unknown(cls, ids: list[str], at: npt.NDArray[np.float64]) -> "Users":
        """Users of whom nothing is known at their moments."""
        none, numbers = np.empty(0, np.int64), np.empty(0, np.float32)
        repeats = Repeats(none, none, *[numbers] * 8)
        sequence = Sequence(none, none, np.empty(0), none, numbers, none)
        return cls(ids, at, np.zeros(len(ids), bool), {}, repeats, sequence, Affinity.none())

    def rows(self, start: int, stop: int) -> "Users":
        """Some of the users."""
        return self.take(np.arange(start, min(stop, len(self))))

    def take(self, places: Integers) -> "Users":
        """The users at some places, in that order; one may be there more than once."""

        def cut(part: Any) -> Any:
            order = np.argsort(part.user, kind="stable")
            owner = part.user[order]
            begin, end = np.searchsorted(owner, places), np.searchsorted(owner, places, "right")
            count = end - begin
            user = np.repeat(np.arange(len(places)), count)
            row = order[np.arange(len(user)) - np.repeat(np.cumsum(count) - count, count) + begin[user]]
            names = [name for name in vars(part) if name not in ("user", "current")]
            return replace(part, user=user, **{name: getattr(part, name)[row] for name in names})

        session = self.session and replace(cut(self.session), current=self.session.current[places])
        return replace(
            self,
            ids=[self.ids[place] for place in places],
            at=self.at[places],
            known=self.known[places],
            columns={name: values[places] for name, values in self.columns.items()},
            repeats=cut(self.repeats),
            sequence=cut(self.sequence),
            affinity=cut(self.affinity),
            words={name: values.take(pa.array(places)) for name, values in self.words.items()},
            label_affinity=cut(self.label_affinity),
            session=session,
        )

    def without_state(self, forgotten: npt.NDArray[np.bool_]) -> "Users":
        """The same, where of the ``forgotten`` [users] nothing is known, as of somebody new."""

        def keep(part: Any) -> Any:
            kept = ~forgotten[part.user]
            return replace(part, **{name: values[kept] for name, values in vars(part).items()})

        unknown = {name: np.where(forgotten, np.nan, values) for name, values in self.columns.items()}
        nobody = pa.array(forgotten)
        return replace(
            self,
            known=self.known & ~forgotten,
            columns=unknown,
            repeats=keep(self.repeats),
            sequence=keep(self.sequence),
            affinity=keep(self.affinity),
            words={name: pc.if_else(nobody, pa.scalar(None, pa.string()), held) for name, held in self.words.items()},
            label_affinity=keep(self.label_affinity),
        )

    @cached_property
    def with_history(self) -> npt.NDArray[np.bool_]:
        """Whether any event of the user is known [users]."""
        return np.bincount(np.r_[self.repeats.user, self.sequence.user], minlength=len(self)) > 0

    @cached_property
    def liking(self) -> Floats:
        """Of each entry of the repeats: how far its grade is from the user's usual one; NaN where there is none."""
        return self.scale.liking(self.repeats.user, self.repeats.grade, len(self))

    @cached_property
    def taste(self) -> Floats:
        """How much each entry of the repeats speaks for items like it: 1; below the user's usual it is negative."""
        return np.where(self.liking < 0, AGAINST * np.maximum(self.liking, -1), 1).astype(np.float32)

    @cached_property
    def sequence_types(self) -> Integers:
        """Types of the sequence's events; ``DISLIKED`` for a grade below the user's usual."""
        sequence = self.sequence
        grade = np.where(sequence.type == RATING, sequence.value, np.nan)
        usual = self.scale.usual(self.repeats.user, self.repeats.grade, len(self))[sequence.user]
        return np.where(grade < usual, DISLIKED, sequence.type)

    @classmethod
    def of(cls, rows: pa.Table | list[dict[str, Any]], catalogue: Catalogue, now: float) -> "Users":
        """From rows of users.parquet, or the same as dictionaries; ``now`` replaces a missing feature_at.

        Raises:
            ValueError: a row has no user_id.
        """
        table = rows if isinstance(rows, pa.Table) else _table(rows)
        if USER_ID not in table.column_names or table[USER_ID].null_count:
            raise ValueError("users: every row needs a user_id")
        n = table.num_rows
        has_moment = FEATURE_AT in table.column_names and not pa.types.is_null(table.schema.field(FEATURE_AT).type)
        at = epoch_seconds(table[FEATURE_AT]) if has_moment else np.full(n, np.nan)
        known = ~np.isnan(at)
        at = np.where(known, at, now)

        owner, item, (baskets, quantity, first, last, short, long, gap) = _entries(
            table, catalogue, "repeat_item_ids", *(f"repeat_{name}" for name in _REPEATS)
        )
        now_of = at[owner]
        repeats = Repeats(
            owner,
            item,
            baskets.astype(np.float32),
            quantity.astype(np.float32),
            ((now_of - first) / SECONDS_PER_DAY).astype(np.float32),
            ((now_of - last) / SECONDS_PER_DAY).astype(np.float32),
            short.astype(np.float32),
            long.astype(np.float32),
            np.where(gap > 0, gap, np.nan).astype(np.float32),
            _grades(table, catalogue, owner, item),
        )
        owner, item, (when, value, basket) = _entries(
            table, catalogue, "sequence_item_ids", "sequence_at", "sequence_values", "sequence_baskets"
        )
        types = _event_types(table, catalogue)
        sequence = Sequence(owner, item, when, types, value.astype(np.float32), basket.astype(np.int64))
        return cls(
            [str(user) for user in table[USER_ID].to_pylist()],
            at,
            known,
            numeric_columns(table.drop_columns([USER_ID]), at),
            repeats,
            sequence,
            _affinity(table, "affinity_categories", "affinity_shares", catalogue.categories),
            word_columns(table),
            _affinity(table, "affinity_labels", "affinity_label_shares", catalogue.label_names),
        )


def _grades(table: pa.Table, catalogue: Catalogue, user: Integers, item: Integers) -> Floats:
    """The grade of each entry of the repeats, NaN for none."""
    owner, graded, (grades,) = _entries(table, catalogue, "graded_item_ids", "grades")
    keys, wanted = owner * len(catalogue) + graded, user * len(catalogue) + item
    order = np.argsort(keys, kind="stable")
    place = np.minimum(np.searchsorted(keys[order], wanted), max(len(keys) - 1, 0))
    found = keys[order][place] == wanted if len(keys) else np.zeros(len(wanted), bool)
    values = grades[order][place] if len(keys) else np.zeros(len(wanted))
    return np.where(found, values, np.nan).astype(np.float32)


_REPEATS = ("baskets", "quantities", "first_at", "last_at", "decayed_short", "decayed_long", "mean_gap_days")


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    """Dictionaries with any subset of the columns as a table; an absent key is null."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.table({name: pa.array([row.get(name) for row in rows]) for name in names})


def _lists(table: pa.Table, name: str) -> tuple[Integers, pa.Array]:
    """Row of each entry, and the entries, of a list column; nothing where the column is absent or null."""
    if name not in table.column_names or pa.types.is_null(table.schema.field(name).type):
        return np.empty(0, np.int64), pa.array([], pa.null())
    column = table[name].combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    return np.repeat(np.arange(table.num_rows), lengths), column.flatten()


def _numbers(values: pa.Array) -> npt.NDArray[np.float64]:
    return np.asarray(pc.cast(values, pa.float64()).to_numpy(zero_copy_only=False))


def _entries(
    table: pa.Table, catalogue: Catalogue, items: str, *names: str
) -> tuple[Integers, Integers, list[npt.NDArray[np.float64]]]:
    """Parallel list columns as flat arrays, entries of unknown items left out.

    Raises:
        ValueError: a parallel array is missing or has another length than the item array.
    """
    owner, ids = _lists(table, items)
    index = catalogue.index_of(ids) if len(ids) else np.empty(0, np.int64)
    keep = index >= 0
    columns = []
    for name in names:
        values = _numbers(_lists(table, name)[1])
        if len(values) != len(index):
            raise ValueError(f"users: {name} has {len(values)} entries, {items} has {len(index)}")
        columns.append(values[keep])
    return owner[keep], index[keep], columns


def _event_types(table: pa.Table, catalogue: Catalogue) -> Integers:
    """Type code of each kept event of the sequences."""
    ids, types = _lists(table, "sequence_item_ids")[1], _lists(table, "sequence_types")[1]
    if not len(ids):
        return np.empty(0, np.int64)
    return event_type_codes(types)[catalogue.index_of(ids) >= 0]


def _affinity(table: pa.Table, names: str, shares: str, known: list[str]) -> Affinity:
    owner, held = _lists(table, names)
    if not len(held):
        return Affinity.none()
    codes = pc.index_in(held.cast(pa.string()), value_set=pa.array(known, pa.string()))
    code = np.asarray(pc.fill_null(codes, -1).to_numpy(zero_copy_only=False)).astype(np.int64)
    share = _numbers(_lists(table, shares)[1]).astype(np.float32)
    return Affinity(owner[code >= 0], code[code >= 0], share[code >= 0])

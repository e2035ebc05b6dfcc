"""The items that a bundle can recommend, and their state at one moment."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from zhiyin.contract import FEATURE_AT, ITEM_ID, USER_ID

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

COLUMNS = (ITEM_ID, "title", "brand", "department", "category", "category_path", "labels", "price", "document")
SECONDS_PER_DAY = 86_400.0
NEW_DAYS = 28  # an item is new for so long: it can be listed before it has the events that others need


def epoch_seconds(column: pa.ChunkedArray | pa.Array) -> npt.NDArray[np.float64]:
    """A timestamp column as seconds since 1970 (UTC); NaN where null."""
    if not pa.types.is_timestamp(column.type):
        column = pc.cast(column, pa.timestamp("us"))
    micros = pc.cast(pc.cast(column, pa.timestamp("us", tz=column.type.tz), safe=False), pa.int64())
    return np.asarray(pc.cast(micros, pa.float64()).to_numpy(zero_copy_only=False)) / 1e6


def numeric_columns(table: pa.Table, at: npt.NDArray[np.float64]) -> dict[str, Floats]:
    """Every scalar numeric, boolean and timestamp column as float32, NaN where null.

    A timestamp becomes the days from it to ``at`` (float64 [rows], epoch seconds). Strings and lists are left out, so
    a new numeric column of a mart is included without an edit here.
    """
    columns: dict[str, Floats] = {}
    for name in sorted(set(table.column_names) - {FEATURE_AT}):
        column, kind = table[name], table.schema.field(name).type
        if pa.types.is_timestamp(kind):
            columns[name] = ((at - epoch_seconds(column)) / SECONDS_PER_DAY).astype(np.float32)
        elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
            numbers = pc.cast(pc.cast(column, pa.int8()) if pa.types.is_boolean(kind) else column, pa.float64())
            columns[name] = numbers.to_numpy(zero_copy_only=False).astype(np.float32)
    return columns


def word_columns(table: pa.Table) -> dict[str, pa.Array]:
    """Every scalar column of strings but the user's id, in the order of their names: attributes such as an age band."""
    found = {}
    for name in sorted(set(table.column_names) - {USER_ID}):
        kind = table.schema.field(name).type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            found[name] = table[name].cast(pa.string()).combine_chunks()
    return found


def words_of(user_ids: list[str], known: pa.Table) -> dict[str, pa.Array]:
    """The words of some users [users], null for whom ``known`` has no row."""
    place = pc.index_in(pa.array(user_ids, pa.string()), value_set=known[USER_ID].cast(pa.string()))
    return {name: column.take(place) for name, column in word_columns(known).items()}


@dataclass(frozen=True)
class Catalogue:
    """Items in the order of their index; ``table`` holds ``COLUMNS`` (rows sorted by item_id, no duplicates).

    An item has a place, its category path, and a set of labels such as genres or tags; either may be unknown.
    """

    table: pa.Table

    def __post_init__(self) -> None:
        if "labels" not in self.table.column_names:  # of marts or a bundle from before there were labels
            none = pa.nulls(self.table.num_rows, pa.list_(pa.string()))
            object.__setattr__(self, "table", self.table.append_column("labels", none))

    @classmethod
    def of(cls, items: pa.Table, item_ids: Iterable[str]) -> "Catalogue":
        """The rows of the items mart for ``item_ids``.

        Raises:
            ValueError: an id has no row in the items mart.
        """
        wanted = pa.array(sorted(set(item_ids)), pa.string())
        rows = pc.index_in(wanted, value_set=items[ITEM_ID].combine_chunks().cast(pa.string()))
        if rows.null_count:
            lost = wanted.filter(pc.is_null(rows))
            raise ValueError(f"items mart: {len(lost)} items have interactions but no row, first {lost[0].as_py()!r}")
        known = [name for name in COLUMNS if name in items.column_names or name != "labels"]
        return cls(items.select(known).take(rows).combine_chunks())

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def _ids(self) -> pa.Array:
        return self.table[ITEM_ID].combine_chunks().cast(pa.string())

    def index_of(self, item_ids: pa.Array | pa.ChunkedArray) -> Integers:
        """Index of each id, -1 for an id outside the catalogue."""
        found = pc.index_in(item_ids.cast(pa.string()), value_set=self._ids)
        return np.asarray(pc.fill_null(found, -1).to_numpy(zero_copy_only=False)).astype(np.int64)

    def row(self, index: int) -> dict[str, Any]:
        """One item's columns as Python values."""
        return {name: self.table[name][index].as_py() for name in COLUMNS}

    @cached_property
    def titles(self) -> list[str]:
        return [str(title) for title in self.table["title"].to_pylist()]

    @cached_property
    def title(self) -> Integers:
        """Code of what each item is called: items of one code cannot be told apart in a list."""
        names = [" ".join(title.casefold().split()) for title in self.titles]
        return np.unique(np.array(names, object).astype(str), return_inverse=True)[1].astype(np.int64)

    @cached_property
    def item_ids(self) -> list[str]:
        return [str(item) for item in self._ids.to_pylist()]

    @cached_property
    def categories(self) -> list[str]:
        """Names of the categories, in the order of their code."""
        return sorted({str(name) for name in self.table["category"].to_pylist() if name is not None})

    @cached_property
    def category(self) -> Integers:
        """Category code of each item, -1 where unknown."""
        return _codes(self.table["category"], self.categories)

    @cached_property
    def label_names(self) -> list[str]:
        """Names of the labels, in the order of their code."""
        return sorted({str(name) for labels in self.table["labels"].to_pylist() for name in labels or ()})

    @cached_property
    def labels(self) -> sp.csr_array:
        """Which item has which label: ones [items, labels], codes ascending within an item."""
        code = {name: place for place, name in enumerate(self.label_names)}
        found = [sorted({code[str(name)] for name in labels or ()}) for labels in self.table["labels"].to_pylist()]
        ends = np.cumsum([0, *map(len, found)])
        codes = np.array([place for places in found for place in places], np.int64)
        return sp.csr_array((np.ones(len(codes), np.float32), codes, ends), (len(self), len(code)))

    def labels_of(self, item: Integers) -> tuple[Integers, Integers]:
        """The labels of items [n], one entry each: its item's place in ``item``, and the label's code."""
        starts, count = self.labels.indptr[item], np.diff(self.labels.indptr)[item]
        place = np.repeat(np.arange(len(item)), count)
        entry = np.arange(len(place)) - np.repeat(np.cumsum(count) - count, count) + starts[place]
        return place, self.labels.indices[entry].astype(np.int64)

    @cached_property
    def label_codes(self) -> Integers:
        """The same as a rectangle of codes, -1 past the end of an item's [items, most labels of an item]."""
        count = np.diff(self.labels.indptr)
        codes = np.full((len(self), int(count.max(initial=0))), -1)
        codes[np.arange(codes.shape[1]) < count[:, None]] = self.labels.indices
        return codes

    @cached_property
    def groups(self) -> sp.csr_array:
        """What every item is of, categories and then labels: ones [items, categories + labels]."""
        placed = np.flatnonzero(self.category >= 0)
        ones = np.ones(len(placed), np.float32)
        categories = sp.csr_array((ones, (placed, self.category[placed])), (len(self), len(self.categories)))
        return sp.hstack([categories, self.labels], format="csr")

    @cached_property
    def kind(self) -> Integers:
        """Code of the finest kind of each item: its full category path; without one, its set of labels."""
        paths = self.table["category_path"].to_pylist()
        sets = [" | ".join(sorted(labels)) if labels else None for labels in self.table["labels"].to_pylist()]
        kinds = [labels if path is None else path for path, labels in zip(paths, sets, strict=True)]
        return _codes(pa.chunked_array([pa.array(kinds, pa.string())]), sorted({str(kind) for kind in kinds}))

    @cached_property
    def brand(self) -> Integers:
        return _codes(self.table["brand"], sorted({str(name) for name in self.table["brand"].to_pylist()}))


def _codes(column: pa.ChunkedArray, names: list[str]) -> Integers:
    codes = pc.index_in(column.combine_chunks().cast(pa.string()), value_set=pa.array(names, pa.string()))
    return np.asarray(pc.fill_null(codes, -1).to_numpy(zero_copy_only=False)).astype(np.int64)


@dataclass(frozen=True)
class ItemState:
    """The state of every item of a catalogue at one moment.

    ``columns``: name -> float32 [items], NaN where nothing is known. ``eligible``: bool [items], which items may be
    recommended at that moment: never one that is not ``available``. The eligible items are the ``pool``: generators
    score these alone, in the order of the catalogue.
    """

    at: float
    columns: dict[str, Floats]
    eligible: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, states: pa.Table, catalogue: Catalogue, at: datetime, least: int = 0) -> "ItemState":
        """From the rows of items.parquet at the snapshot ``at``; ``least`` as in ``listed``.

        Raises:
            ValueError: the table holds no row at that moment.
        """
        moment = at.replace(tzinfo=at.tzinfo or UTC).timestamp()
        rows = states.filter(pa.array(epoch_seconds(states[FEATURE_AT]) == moment))
        if not rows.num_rows:
            raise ValueError(f"items.parquet has no row at {at.isoformat()}; read the features for this clock first")
        where = pc.index_in(catalogue._ids, value_set=rows[ITEM_ID].combine_chunks().cast(pa.string()))
        aligned = rows.drop_columns([ITEM_ID]).take(where)
        columns = numeric_columns(aligned, np.full(len(catalogue), moment))
        return cls(moment, columns, listed(columns, len(catalogue), least))

    @property
    def moment(self) -> datetime:
        return datetime.fromtimestamp(self.at, UTC)

    @cached_property
    def pool(self) -> Integers:
        """Catalogue indices of the eligible items, ascending [pool]."""
        return np.flatnonzero(self.eligible)

    @cached_property
    def place(self) -> Integers:
        """The place of each item in the pool, -1 for one that is not eligible [items]."""
        place = np.full(len(self.eligible), -1)
        place[self.pool] = np.arange(len(self.pool))
        return place

    def only(self, allowed: npt.NDArray[np.bool_]) -> "ItemState":
        """The same state with fewer eligible items: those that are ``allowed`` [items], too."""
        return ItemState(self.at, self.columns, self.eligible & allowed)

    def column(self, name: str) -> Floats:
        """A column with 0 in place of NaN.

        Raises:
            ValueError: items.parquet has no such column.
        """
        if name not in self.columns:
            raise ValueError(f"items.parquet has no column {name!r}; it has {', '.join(self.columns)}")
        return np.nan_to_num(self.columns[name])


def listed(columns: Mapping[str, Floats], n_items: int, least: int) -> npt.NDArray[np.bool_]:
    """Which items may be listed, by their state [items].

    What is available and had ``least`` events so far; and what is new: its first event, or without one its first day in
    the catalogue, is at most ``NEW_DAYS`` back.
    """
    unknown = np.full(n_items, np.nan, np.float32)
    events = np.nan_to_num(columns.get("events", np.full(n_items, np.inf, np.float32)), posinf=np.inf)
    appeared = columns.get("first_event_at", unknown)
    appeared = np.where(np.isnan(appeared), columns.get("valid_from", unknown), appeared)
    available = columns.get("available", np.ones(n_items, np.float32)) != 0
    return np.asarray(available & ((events >= least) | (appeared <= NEW_DAYS)))


def item_rows(states: pa.Table, catalogue: Catalogue, at: datetime) -> pa.Table:
    """The rows of items.parquet at a moment for a catalogue's items: the part that a bundle keeps."""
    now = pa.array(epoch_seconds(states[FEATURE_AT]) == at.timestamp())
    mine = pc.is_in(states[ITEM_ID].cast(pa.string()), value_set=pa.array(catalogue.item_ids))
    return states.filter(pc.and_(now, mine)).sort_by(ITEM_ID).combine_chunks()

"""Rows of events and of their baskets, padded: what the interest encoder reads, and what it sees of their time."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

if TYPE_CHECKING:  # a bare GPU machine has torch and numpy, not pyarrow
    from zhiyin.recommender.state.catalogue import Integers

SECONDS_PER_DAY = 86_400.0


@dataclass(frozen=True)
class PaddedSequences:
    """Padded rows of events [rows, length] and of their baskets [rows, baskets], both left-aligned, oldest first."""

    item: Tensor  # int64, -1 where there is no event
    type: Tensor  # int64
    place: Tensor  # int64, place of the event's basket in its row; ``baskets`` where there is no event
    at: Tensor  # float32, days before the row's end
    basket_at: Tensor  # float32 [rows, baskets]
    size: Tensor  # int64 [rows, baskets], events of the basket that are here; 0 where there is no basket

    def __len__(self) -> int:
        return self.item.shape[0]

    def to(self, device: torch.device) -> PaddedSequences:
        return PaddedSequences(*(getattr(self, field.name).to(device) for field in fields(self)))

    def rows(self, index: Tensor) -> PaddedSequences:
        """Some of the rows, cut to the longest among them."""
        size = self.size[index]
        baskets, events = (
            max(int(counts.max()), 1) if len(index) else 1 for counts in ((size > 0).sum(dim=1), size.sum(dim=1))
        )
        place = self.place[index, :events].clamp(max=baskets)
        item, event_type, at = (values[index, :events] for values in (self.item, self.type, self.at))
        return PaddedSequences(item, event_type, place, at, self.basket_at[index, :baskets], size[:, :baskets])


def pad_sequences(
    row: Integers,
    item: Integers,
    event_type: Integers,
    basket: Integers,
    at: npt.NDArray[np.float64],
    length: int,
    end: npt.NDArray[np.float64],
) -> PaddedSequences:
    """Lay flat events (rows ascending, baskets together and oldest first) into rows, the latest ``length`` of each.

    ``at``: epoch seconds per event; ``end``: epoch seconds per row [rows], from which days are counted back.
    """
    rows = len(end)
    counts = np.bincount(row, minlength=rows)
    keep = np.arange(len(row)) >= (np.cumsum(counts) - np.minimum(counts, length))[row]
    row, item, event_type, basket, at = row[keep], item[keep], event_type[keep], basket[keep], at[keep]
    counts = np.bincount(row, minlength=rows)
    column = np.arange(len(row)) - (np.cumsum(counts) - counts)[row]
    opens = np.r_[True, (row[1:] != row[:-1]) | (basket[1:] != basket[:-1])][: len(row)]
    ordinal = np.cumsum(opens) - 1
    basket_row = row[opens]
    baskets = np.bincount(basket_row, minlength=rows)
    basket_column = np.arange(len(basket_row)) - (np.cumsum(baskets) - baskets)[basket_row]
    width, breadth = max(int(counts.max(initial=0)), 1), max(int(baskets.max(initial=0)), 1)
    days = (end[row] - at) / SECONDS_PER_DAY
    events, sets = ((row, column), (rows, width)), ((basket_row, basket_column), (rows, breadth))

    def lay(grid: tuple[tuple[Integers, Integers], tuple[int, int]], values: Any, fill: int, kind: type) -> Tensor:
        laid: npt.NDArray[Any] = np.full(grid[1], fill, kind)
        laid[grid[0]] = values
        return torch.from_numpy(laid)

    return PaddedSequences(
        lay(events, item, -1, np.int64),
        lay(events, event_type, 0, np.int64),
        lay(events, basket_column[ordinal], breadth, np.int64),
        lay(events, days, 0, np.float32),
        lay(sets, days[opens], 0, np.float32),
        lay(sets, np.bincount(ordinal, minlength=len(basket_row)), 0, np.int64),
    )

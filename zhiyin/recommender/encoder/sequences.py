"""Rows of events and of their baskets: kept flat, and padded a batch at a time for the interest encoder to read."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

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
    basket_at: Tensor  # float32 [rows, baskets], 0 where there is no basket
    size: Tensor  # int64 [rows, baskets], events of the basket that are here; 0 where there is no basket

    def __len__(self) -> int:
        return self.item.shape[0]


@dataclass(frozen=True)
class FlatSequences:
    """Rows of events, one after the other, without padding: a log takes the memory of its events.

    ``events``, ``baskets`` [rows + 1]: where each row's events and baskets begin, and the end of the last.
    """

    item: Tensor  # int32 [events]
    type: Tensor  # int32
    place: Tensor  # int32, place of the event's basket in its row
    at: Tensor  # float32, days before the row's end
    basket_at: Tensor  # float32 [baskets]
    size: Tensor  # int32 [baskets], events of the basket
    events: Tensor  # int64 [rows + 1]
    baskets: Tensor  # int64 [rows + 1]

    def __len__(self) -> int:
        return len(self.events) - 1

    def to(self, device: torch.device) -> FlatSequences:
        return FlatSequences(*(getattr(self, field.name).to(device) for field in fields(self)))

    @property
    def lengths(self) -> Tensor:
        """Events of each row [rows]."""
        return self.events.diff()

    def pad(self, index: Tensor) -> PaddedSequences:
        """Some of the rows, as wide as the longest among them."""
        event, no_event = _grid(self.events, index)
        basket, no_basket = _grid(self.baskets, index)
        breadth = basket.shape[1]

        def lay(values: Tensor, at: Tensor, nothing: Tensor, fill: int) -> Tensor:
            return values[at].masked_fill(nothing, fill) if len(values) else values.new_full(at.shape, fill)

        return PaddedSequences(
            lay(self.item, event, no_event, -1).long(),
            lay(self.type, event, no_event, 0).long(),
            lay(self.place, event, no_event, breadth).long(),
            lay(self.at, event, no_event, 0),
            lay(self.basket_at, basket, no_basket, 0),
            lay(self.size, basket, no_basket, 0).long(),
        )


def _grid(offsets: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Of each row [n] the flat positions of its parts [n, longest], and where there is none."""
    start, length = offsets[index], (offsets[index + 1] - offsets[index]).unsqueeze(1)
    column = torch.arange(max(int(length.max()), 1) if len(index) else 1, device=offsets.device)
    nothing = column >= length
    return (start.unsqueeze(1) + column).masked_fill(nothing, 0), nothing


def lay_sequences(
    row: Integers,
    item: Integers,
    event_type: Integers,
    basket: Integers,
    at: npt.NDArray[np.float64],
    length: int,
    end: npt.NDArray[np.float64],
) -> FlatSequences:
    """Lay flat events (rows ascending, baskets together and oldest first) into rows, the latest ``length`` of each.

    ``at``: epoch seconds per event; ``end``: epoch seconds per row [rows], from which days are counted back.
    """
    rows = len(end)
    counts = np.bincount(row, minlength=rows)
    keep = np.arange(len(row)) >= (np.cumsum(counts) - np.minimum(counts, length))[row]
    row, item, event_type, basket, at = row[keep], item[keep], event_type[keep], basket[keep], at[keep]
    opens = np.r_[True, (row[1:] != row[:-1]) | (basket[1:] != basket[:-1])][: len(row)]
    ordinal = np.cumsum(opens) - 1
    baskets = np.r_[0, np.cumsum(np.bincount(row[opens], minlength=rows))]
    days = ((end[row] - at) / SECONDS_PER_DAY).astype(np.float32)
    return FlatSequences(
        torch.from_numpy(item.astype(np.int32)),
        torch.from_numpy(event_type.astype(np.int32)),
        torch.from_numpy((ordinal - baskets[row]).astype(np.int32)),
        torch.from_numpy(days),
        torch.from_numpy(days[opens]),
        torch.from_numpy(np.bincount(ordinal, minlength=int(opens.sum())).astype(np.int32)),
        torch.from_numpy(np.r_[0, np.cumsum(np.bincount(row, minlength=rows))]),
        torch.from_numpy(baskets),
    )

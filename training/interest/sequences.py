"""Training sequences of the interest encoder, what each basket in them should foresee, and their batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from zhiyin.recommender.encoder.sequences import FlatSequences, PaddedSequences, lay_sequences

if TYPE_CHECKING:
    from zhiyin.recommender.encoder.interest_encoder import InterestEncoder
    from zhiyin.recommender.state.catalogue import Integers
    from zhiyin.recommender.state.history import History


def training_sequences(history: History, length: int, since: float = -np.inf) -> FlatSequences:
    """Each user's log cut into windows of ``length`` events, counted from its end; no window of one event alone.

    Only windows that hold an event at or after ``since`` (epoch seconds).
    """
    ends = np.cumsum(np.bincount(history.user, minlength=history.n_users))
    window = (ends[history.user] - 1 - np.arange(len(history))) // length
    # FlatSequences in the order of the log: users ascending, each user's windows oldest first.
    opens = np.r_[True, (history.user[1:] != history.user[:-1]) | (window[1:] != window[:-1])][: len(history)]
    row = np.cumsum(opens) - 1
    latest = np.full(int(row.max(initial=-1)) + 1, -np.inf)
    np.maximum.at(latest, row, history.at)
    taken = (np.bincount(row, minlength=len(latest)) > 1) & (latest >= since)
    keep, end = taken[row], latest[taken]
    row = (np.cumsum(taken) - 1)[row[keep]]
    return lay_sequences(
        row, history.item[keep], history.type[keep], history.basket[keep], history.at[keep], length, end
    )


def next_baskets(sequences: PaddedSequences, held: Tensor | None = None, ahead: int = 1) -> tuple[Tensor, Tensor]:
    """Pairs of a basket and an item of its user's next ones, up to ``ahead`` of them: a basket is a set.

    ``held``: bool [rows], rows whose last basket is left out. Returns the flat position (row * baskets + place) of the
    earlier basket and the item index of each pair.
    """
    taken = sequences.item >= 0
    if held is not None:
        taken = taken & ~(_is_last(sequences) & held.unsqueeze(1))
    pairs = [_pairs(sequences, taken & (sequences.place >= back), back) for back in range(1, ahead + 1)]
    return torch.cat([basket for basket, _ in pairs]), torch.cat([item for _, item in pairs])


def owned_items(sequences: PaddedSequences) -> tuple[Tensor, Tensor]:
    """What a row's user had by a basket, in the row: flat position of the basket and item, one pair an event."""
    places = torch.arange(sequences.size.shape[1], device=sequences.item.device).view(1, -1, 1)
    known = (sequences.place.unsqueeze(1) <= places) & (sequences.item >= 0).unsqueeze(1)
    known &= (sequences.size > 0).unsqueeze(2)
    row, basket, event = torch.nonzero(known, as_tuple=True)
    return row * sequences.size.shape[1] + basket, sequences.item[row, event]


def last_baskets(sequences: PaddedSequences) -> tuple[Tensor, Tensor]:
    """The pairs of ``next_baskets`` whose item lies in its row's last basket."""
    return _pairs(sequences, (sequences.item >= 0) & (sequences.place > 0) & _is_last(sequences))


def _is_last(sequences: PaddedSequences) -> Tensor:
    return sequences.place == (sequences.size > 0).sum(dim=1, keepdim=True) - 1


def _pairs(sequences: PaddedSequences, chosen: Tensor, back: int = 1) -> tuple[Tensor, Tensor]:
    rows = torch.arange(len(sequences), device=chosen.device).unsqueeze(1)
    return (rows * sequences.size.shape[1] + sequences.place - back)[chosen], sequences.item[chosen]


def pack(lengths: Integers, tokens: int, seed: int, epoch: int) -> list[Tensor]:
    """Rows of one epoch in batches of at most ``tokens`` events, padding counted; rows of like length together.

    ``lengths`` [rows] events. Which rows meet, and in which order the batches come, is another for each epoch.
    """
    random = np.random.default_rng([seed, epoch])
    order = np.argsort(-lengths * random.uniform(0.8, 1.0, len(lengths)), kind="stable")
    batches: list[Tensor] = []
    start = 0
    while start < len(order):
        # The first row is hardly ever shorter than those after it; where it is, the batch gives some of them back.
        rows = order[start : start + max(tokens // int(lengths[order[start]]), 1)]
        rows = rows[: max(tokens // int(lengths[rows].max()), 1)]
        batches.append(torch.from_numpy(rows))
        start += len(rows)
    return [batches[place] for place in random.permutation(len(batches))]


def learned_pairs(model: InterestEncoder, basket: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
    """Those pairs whose item has a learned place; each item as that place."""
    place = model.place[item]
    return basket[place >= 0], place[place >= 0]

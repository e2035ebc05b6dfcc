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

Pairs = tuple[Tensor, Tensor]  # of a basket, as its flat position in a batch (row * baskets + place), and an item


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


def next_baskets(sequences: PaddedSequences, held: Tensor | None = None) -> Pairs:
    """Pairs of a basket and an item of its user's next one, all of them: a basket is a set.

    ``held``: bool [rows], rows whose last basket is left out. Returns the flat position (row * baskets + place) of the
    earlier basket and the item index of each pair.
    """
    follows = (sequences.item >= 0) & (sequences.place > 0)
    return _pairs(sequences, follows if held is None else follows & ~(_is_last(sequences) & held.unsqueeze(1)))


def owned_items(sequences: PaddedSequences) -> Pairs:
    """What a user had by a basket, as far as the row goes back: flat position of the basket, and the item.

    Ordered by basket; a pair for each event.
    """
    places = torch.arange(sequences.size.shape[1], device=sequences.item.device).view(1, -1, 1)
    known = (sequences.place.unsqueeze(1) <= places) & (sequences.size > 0).unsqueeze(2)
    row, basket, event = torch.nonzero(known, as_tuple=True)
    return row * sequences.size.shape[1] + basket, sequences.item[row, event]


def last_baskets(sequences: PaddedSequences) -> Pairs:
    """The pairs of ``next_baskets`` whose item lies in its row's last basket."""
    return _pairs(sequences, (sequences.item >= 0) & (sequences.place > 0) & _is_last(sequences))


def answers(
    model: InterestEncoder, batch: PaddedSequences, next_items: Pairs, without_owned: bool
) -> tuple[Pairs, Pairs | None]:
    """``next_items`` on learned items; and, ``without_owned``, what the softmax of each basket leaves out.

    Those are the items that the user had by then; they are no answers either.
    """
    pairs = _learned(model, next_items)
    if not without_owned:
        return pairs, None
    owned, n = _learned(model, owned_items(batch)), len(model.learned)
    new = ~torch.isin(pairs[0] * n + pairs[1], owned[0] * n + owned[1])
    return (pairs[0][new], pairs[1][new]), owned


def _learned(model: InterestEncoder, pairs: Pairs) -> Pairs:
    """Those whose item is learned, each item as its place among those; in their order."""
    place = model.place[pairs[1]]
    return pairs[0][place >= 0], place[place >= 0]


def _is_last(sequences: PaddedSequences) -> Tensor:
    return sequences.place == (sequences.size > 0).sum(dim=1, keepdim=True) - 1


def _pairs(sequences: PaddedSequences, chosen: Tensor) -> Pairs:
    rows = torch.arange(len(sequences), device=chosen.device).unsqueeze(1)
    return (rows * sequences.size.shape[1] + sequences.place - 1)[chosen], sequences.item[chosen]


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

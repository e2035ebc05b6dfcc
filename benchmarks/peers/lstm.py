"""The textbook network: an embedding, two LSTM layers (Hochreiter and Schmidhuber 1997), a sigmoid per item."""

from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from zhiyin.recommender.candidates.base import NOT_A_CANDIDATE, Context, Generator
from zhiyin.recommender.state.catalogue import Floats, Integers, ItemState
from zhiyin.recommender.state.history import History
from zhiyin.recommender.state.users import Users


class Lstm(Generator):
    """After each of the user's last ``length`` events, the chance of every item to be the next one: binary
    cross-entropy over all items. Its order inside a basket is that of the log.
    """

    name = "lstm"
    quota = 60

    def __init__(self, network: nn.Module, length: int) -> None:
        self.network = network.eval()
        self.length = length

    @classmethod
    def fit(
        cls,
        history: History,
        context: Context,
        width: int = 64,
        length: int = 100,
        epochs: int = 30,
        learning_rate: float = 5e-3,
        batch: int = 64,
    ) -> Self:
        torch.manual_seed(context.seed)
        torch.set_num_threads(context.threads)
        network = _Network(history.n_items, width)
        sequences = torch.from_numpy(_pad(history.user, history.item, history.n_users, length + 1, history.n_items))
        sequences = sequences[(sequences < history.n_items).sum(dim=1) > 1]
        optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
        for epoch in range(epochs):
            for rows in torch.randperm(len(sequences)).split(batch):  # type: ignore[no-untyped-call]
                given, target = sequences[rows, :-1], sequences[rows, 1:]
                known = (given < history.n_items) & (target < history.n_items)
                chances = network(given)[known]
                truth = functional.one_hot(target[known], history.n_items).float()
                loss = functional.binary_cross_entropy_with_logits(chances, truth, reduction="sum") / len(truth)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            context.progress("lstm", (epoch + 1) / epochs, f"epoch {epoch + 1}, loss {float(loss.detach()):.2f}")
        return cls(network, length)

    @torch.inference_mode()
    def score(self, users: Users, items: ItemState) -> Floats:
        n_items = len(items.eligible)
        sequences = _pad(users.sequence.user, users.sequence.item, len(users), self.length, n_items)
        scores: Floats = self.network(torch.from_numpy(sequences))[:, -1].numpy()
        scores[(sequences == n_items).all(axis=1)] = NOT_A_CANDIDATE
        return scores[:, items.pool]


class _Network(nn.Module):
    """Item index [rows, length] (``n_items``: none) to logits [rows, length, items]."""

    def __init__(self, n_items: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_items + 1, width, padding_idx=n_items)
        self.layers = nn.LSTM(width, width, num_layers=2, batch_first=True, dropout=0.2)
        self.out = nn.Linear(width, n_items)
        nn.init.constant_(self.out.bias, -5.0)  # most items are not the next one

    def forward(self, items: Tensor) -> Tensor:
        logits: Tensor = self.out(self.layers(self.embedding(items))[0])
        return logits


def _pad(user: Integers, item: Integers, n_users: int, length: int, nothing: int) -> Integers:
    """The latest ``length`` items of each user, right-aligned, oldest first: [users, length]."""
    counts = np.bincount(user, minlength=n_users)
    back = np.cumsum(counts)[user] - 1 - np.arange(len(user))
    kept = back < length
    rows = np.full((n_users, length), nothing, np.int64)
    rows[user[kept], length - 1 - back[kept]] = item[kept]
    return rows

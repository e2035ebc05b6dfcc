"""BPR: matrix factorisation that ranks a user's items above the others."""

from typing import ClassVar, Self

import numpy as np
import torch
from torch.nn import functional

from zhiyin.recommender.candidates.base import NOT_A_CANDIDATE, Context, Generator
from zhiyin.recommender.candidates.space import Range, Space
from zhiyin.recommender.state.catalogue import Floats, ItemState
from zhiyin.recommender.state.history import History
from zhiyin.recommender.state.users import Users


class Bpr(Generator):
    """Rendle et al. 2009 (arXiv:1205.2618); a negative per event, drawn evenly from all items. Users who came
    after the fit are not scored.
    """

    name = "bpr"
    quota = 60
    space: ClassVar[Space] = {
        "factors": Range(16, 128, log=True),
        "epochs": Range(5, 60, log=True),
        "learning_rate": Range(1e-3, 2e-2, log=True),
        "decay": Range(1e-5, 1e-2, log=True),
    }

    def __init__(self, ids: list[str], users: Floats, items: Floats) -> None:
        self.ids = {name: place for place, name in enumerate(ids)}
        self.users = users  # [users of the log, factors + 1], the last of them 1
        self.items = items  # [items, factors + 1], the last of them the item's bias

    @classmethod
    def fit(
        cls,
        history: History,
        context: Context,
        factors: int = 64,
        epochs: int = 20,
        learning_rate: float = 5e-3,
        decay: float = 1e-3,
        batch: int = 4_096,
    ) -> Self:
        torch.set_num_threads(context.threads)
        random = torch.Generator().manual_seed(context.seed)
        pairs = torch.from_numpy(np.unique(history.user * history.n_items + history.item))
        user, item = pairs // history.n_items, pairs % history.n_items
        of_user, of_item = (
            torch.normal(0.0, 0.1, (size, factors), generator=random).requires_grad_()
            for size in (history.n_users, history.n_items)
        )
        bias = torch.zeros(history.n_items, requires_grad=True)
        optimizer = torch.optim.Adam([of_user, of_item, bias], lr=learning_rate)
        for epoch in range(epochs):
            for rows in torch.randperm(len(pairs), generator=random).split(batch):  # type: ignore[no-untyped-call]
                mine, right = of_user[user[rows]], item[rows]
                wrong = torch.randint(history.n_items, (len(rows),), generator=random)
                gap = (mine * (of_item[right] - of_item[wrong])).sum(dim=1) + bias[right] - bias[wrong]
                size = mine.square().sum() + of_item[right].square().sum() + of_item[wrong].square().sum()
                loss = -functional.logsigmoid(gap).mean() + decay * size / len(rows)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            context.progress("bpr", (epoch + 1) / epochs, f"epoch {epoch + 1}")
        ones = torch.ones(history.n_users, 1)
        left, right = torch.cat([of_user, ones], 1), torch.cat([of_item, bias[:, None]], 1)
        return cls(history.user_ids, left.detach().numpy(), right.detach().numpy())

    def score(self, users: Users, items: ItemState) -> Floats:
        place = np.array([self.ids.get(name, -1) for name in users.ids])
        scores = np.where((place >= 0)[:, None], self.users[place] @ self.items.T, NOT_A_CANDIDATE)
        return scores.astype(np.float32)[:, items.pool]

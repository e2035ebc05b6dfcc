"""Training sequences of the interest encoder, and what each basket in them should foresee."""

import numpy as np
import torch
from torch import Tensor

from zhiyin.recommender.history import History
from zhiyin.recommender.interest_encoder import Sessions, pad_sessions


def training_sessions(history: History, length: int, since: float = -np.inf) -> Sessions:
    """Each user's log cut into windows of ``length`` events, counted from its end; no window of one event alone.

    Only windows that hold an event at or after ``since`` (epoch seconds).
    """
    ends = np.cumsum(np.bincount(history.user, minlength=history.n_users))
    window = (ends[history.user] - 1 - np.arange(len(history))) // length
    # Rows in the order of the log: users ascending, each user's windows oldest first.
    opens = np.r_[True, (history.user[1:] != history.user[:-1]) | (window[1:] != window[:-1])][: len(history)]
    row = np.cumsum(opens) - 1
    latest = np.full(int(row.max(initial=-1)) + 1, -np.inf)
    np.maximum.at(latest, row, history.at)
    taken = (np.bincount(row, minlength=len(latest)) > 1) & (latest >= since)
    keep, end = taken[row], latest[taken]
    row = (np.cumsum(taken) - 1)[row[keep]]
    return pad_sessions(
        row, history.item[keep], history.type[keep], history.basket[keep], history.at[keep], length, end
    )


def next_baskets(sessions: Sessions) -> tuple[Tensor, Tensor]:
    """Pairs of a basket and an item of its user's next one, all of them: a basket is a set.

    Returns the flat position (row * baskets + place) of the earlier basket and the item index of each pair.
    """
    breadth = sessions.size.shape[1]
    follows = (sessions.item >= 0) & (sessions.place > 0)
    earlier = torch.arange(len(sessions)).unsqueeze(1) * breadth + sessions.place - 1
    return earlier[follows], sessions.item[follows]

"""Popular now: the items with the most recent buyers."""

from pathlib import Path
from typing import Self

import numpy as np

from zhiyin.recommender.candidates.base import NOT_A_CANDIDATE, CandidateGenerator, Context
from zhiyin.recommender.state.catalogue import Floats, ItemState
from zhiyin.recommender.state.history import History
from zhiyin.recommender.state.users import Users
from zhiyin.store import read_json, write_json


class Popularity(CandidateGenerator):
    """Distinct buyers of the last 28 days (``window``); last week's events break ties. The same list for everyone."""

    name = "popularity"
    quota = 120

    def __init__(self, tie_break: float = 1e-3, window: str = "users_28d") -> None:
        self.tie_break = tie_break
        self.window = window  # a column of the items' state

    @classmethod
    def fit(cls, history: History, context: Context, window: str = "users_28d") -> Self:
        return cls(window=window)

    def score(self, users: Users, items: ItemState) -> Floats:
        demand = items.column(self.window) + np.float32(self.tie_break) * items.column("events_7d")
        scores = np.where(demand > 0, demand, NOT_A_CANDIDATE).astype(np.float32)[items.pool]
        return np.repeat(scores[None], len(users), axis=0)

    def save(self, folder: Path) -> None:
        write_json(folder / "parameters.json", {"tie_break": self.tie_break, "window": self.window})

    @classmethod
    def load(cls, folder: Path, context: Context) -> Self:
        return cls(**read_json(folder / "parameters.json"))

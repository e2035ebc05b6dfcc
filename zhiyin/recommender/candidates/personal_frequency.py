"""Personal frequency: what the user buys again and again, the recent counting more."""

from pathlib import Path
from typing import Self

import numpy as np

from zhiyin.recommender.candidates.base import NOT_A_CANDIDATE, CandidateGenerator, Context
from zhiyin.recommender.catalogue import Floats, ItemState
from zhiyin.recommender.history import History
from zhiyin.recommender.users import Users
from zhiyin.store import read_json, write_json


class PersonalFrequency(CandidateGenerator):
    """Baskets that held the item, decayed with a long and a short half-life (the idea of TIFU-KNN's personal part)."""

    name = "personal_frequency"
    quota = 150

    def __init__(self, short_weight: float = 0.25) -> None:
        self.short_weight = short_weight  # chosen on the validation window

    @classmethod
    def fit(cls, history: History, context: Context) -> Self:
        return cls()

    def score(self, users: Users, items: ItemState) -> Floats:
        repeats = users.repeats
        scores = np.full((len(users), len(items.eligible)), NOT_A_CANDIDATE, np.float32)
        scores[repeats.user, repeats.item] = repeats.long + np.float32(self.short_weight) * repeats.short
        return scores

    def save(self, folder: Path) -> None:
        write_json(folder / "parameters.json", {"short_weight": self.short_weight})

    @classmethod
    def load(cls, folder: Path, context: Context) -> Self:
        return cls(**read_json(folder / "parameters.json"))

"""Personal frequency: items that the user takes repeatedly, recent baskets weighing more."""

from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from zhiyin.recommender.candidates.base import NOT_A_CANDIDATE, CandidateGenerator, Context, taste
from zhiyin.recommender.candidates.space import Range, Space
from zhiyin.recommender.state.catalogue import Floats, ItemState
from zhiyin.recommender.state.history import History
from zhiyin.recommender.state.users import Users
from zhiyin.store import read_json, write_json


class PersonalFrequency(CandidateGenerator):
    """Baskets with the item, decayed by two half-lives: TIFU-KNN's personal part (Hu et al. 2020, arXiv:2006.00556)."""

    name = "personal_frequency"
    quota = 150
    space: ClassVar[Space] = {"short_weight": Range(0.0, 2.0), "count_weight": Range(0.0, 0.5)}

    def __init__(self, short_weight: float = 0.25, count_weight: float = 0.0) -> None:
        self.short_weight = short_weight  # chosen on the validation window
        self.count_weight = count_weight  # of a basket, however old

    @classmethod
    def fit(cls, history: History, context: Context, **weights: float) -> Self:
        return cls(**weights)

    def score(self, users: Users, items: ItemState) -> Floats:
        repeats = users.repeats
        scores = np.full((len(users), len(items.pool)), NOT_A_CANDIDATE, np.float32)
        short, count = np.float32(self.short_weight), np.float32(self.count_weight)
        values = (repeats.long + short * repeats.short + count * repeats.baskets) * taste(users, self.graded)
        place = items.place[repeats.item]
        scores[repeats.user[place >= 0], place[place >= 0]] = values[place >= 0]
        return scores

    def save(self, folder: Path) -> None:
        write_json(folder / "parameters.json", {"short_weight": self.short_weight, "count_weight": self.count_weight})

    @classmethod
    def load(cls, folder: Path, context: Context) -> Self:
        return cls(**read_json(folder / "parameters.json"))

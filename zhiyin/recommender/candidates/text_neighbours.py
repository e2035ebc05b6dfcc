"""Text neighbours: items whose documents read like what the user buys; reaches items that nobody bought yet."""

from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from zhiyin.recommender.candidates.base import NOT_A_CANDIDATE, CandidateGenerator, Context, profile, recency
from zhiyin.recommender.candidates.space import Range, Space
from zhiyin.recommender.catalogue import Floats, ItemState
from zhiyin.recommender.history import History
from zhiyin.recommender.users import Users
from zhiyin.store import read_json, write_json


class TextNeighbours(CandidateGenerator):
    """Cosine between an item's standardised document vector and the recency-weighted mean of the user's own."""

    name = "text_neighbours"
    quota = 20
    space: ClassVar[Space] = {"decay": Range(0.5, 1.0)}

    def __init__(self, text: Floats, decay: float = 1.0) -> None:
        self.decay = decay  # of an item's weight in the profile with every basket since the latest that held it
        self.text = text.astype(np.float64)
        self.text /= np.maximum(np.linalg.norm(self.text, axis=1, keepdims=True), 1e-9)

    @classmethod
    def fit(cls, history: History, context: Context, decay: float = 1.0) -> Self:
        return cls(context.text, decay)

    def score(self, users: Users, items: ItemState) -> Floats:
        weights = users.repeats.long * recency(users, len(items.eligible), self.decay)
        taste = profile(users, weights, len(items.eligible)).astype(np.float64) @ self.text
        length = np.linalg.norm(taste, axis=1, keepdims=True)
        # In double precision, rounded once: the same for a batch of one and of many.
        cosine = ((taste / np.maximum(length, 1e-9)) @ self.text.T).astype(np.float32)
        return np.where(length > 0, cosine, NOT_A_CANDIDATE)

    def save(self, folder: Path) -> None:
        # The vectors are the bundle's.
        write_json(folder / "parameters.json", {"dimensions": self.text.shape[1], "decay": self.decay})

    @classmethod
    def load(cls, folder: Path, context: Context) -> Self:
        parameters = read_json(folder / "parameters.json")
        if parameters["dimensions"] != context.text.shape[1]:
            raise ValueError(f"{folder}: fitted on text of {parameters['dimensions']} dimensions, not of this bundle")
        return cls(context.text, parameters["decay"])

"""Text neighbours: items whose documents read like what the user buys; reaches items that nobody bought yet."""

from pathlib import Path
from typing import Self

import numpy as np

from zhiyin.recommender.candidates.base import NOT_A_CANDIDATE, CandidateGenerator, Context, profile
from zhiyin.recommender.catalogue import Floats, ItemState
from zhiyin.recommender.history import History
from zhiyin.recommender.users import Users
from zhiyin.store import read_json, write_json


class TextNeighbours(CandidateGenerator):
    """Cosine between an item's standardised document vector and the recency-weighted mean of the user's own."""

    name = "text_neighbours"
    quota = 20

    def __init__(self, text: Floats) -> None:
        self.text = text.astype(np.float64)
        self.text /= np.maximum(np.linalg.norm(self.text, axis=1, keepdims=True), 1e-9)

    @classmethod
    def fit(cls, history: History, context: Context) -> Self:
        return cls(context.text)

    def score(self, users: Users, items: ItemState) -> Floats:
        taste = profile(users, users.repeats.long, len(items.eligible)).astype(np.float64) @ self.text
        length = np.linalg.norm(taste, axis=1, keepdims=True)
        # In double precision, rounded once: the same for a batch of one and of many.
        cosine = ((taste / np.maximum(length, 1e-9)) @ self.text.T).astype(np.float32)
        return np.where(length > 0, cosine, NOT_A_CANDIDATE)

    def save(self, folder: Path) -> None:
        write_json(folder / "parameters.json", {"dimensions": self.text.shape[1]})  # the vectors are the bundle's

    @classmethod
    def load(cls, folder: Path, context: Context) -> Self:
        parameters = read_json(folder / "parameters.json")
        if parameters["dimensions"] != context.text.shape[1]:
            raise ValueError(f"{folder}: fitted on text of {parameters['dimensions']} dimensions, not of this bundle")
        return cls(context.text)

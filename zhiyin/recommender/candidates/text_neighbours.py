"""Text neighbours: items with documents similar to those of the user's items; reaches items without any event."""

from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from zhiyin.recommender.candidates.base import (
    NOT_A_CANDIDATE,
    CandidateGenerator,
    Context,
    PoolCache,
    profile,
    recency,
    taste,
)
from zhiyin.recommender.candidates.nearest import EXACT, REACH, NearestItems, spread
from zhiyin.recommender.candidates.space import Range, Space
from zhiyin.recommender.state.catalogue import Floats, ItemState
from zhiyin.recommender.state.history import History
from zhiyin.recommender.state.users import Users
from zhiyin.store import read_json, write_json


class TextNeighbours(CandidateGenerator):
    """Cosine between an item's standardised document vector and the recency-weighted mean of the user's own."""

    name = "text_neighbours"
    quota = 20
    space: ClassVar[Space] = {"decay": Range(0.5, 1.0)}

    def __init__(self, text: Floats, decay: float = 1.0, nearest: NearestItems | None = None) -> None:
        self.decay = decay  # of an item's weight in the profile with every basket since the latest that held it
        self.nearest = nearest  # None: every item is scored
        self._pool = PoolCache()
        self.text = text if nearest else text.astype(np.float64)
        self.text = self.text / np.maximum(np.linalg.norm(self.text, axis=1, keepdims=True), 1e-9)

    @classmethod
    def fit(cls, history: History, context: Context, decay: float = 1.0, exact: int = EXACT) -> Self:
        model = cls(context.text, decay)
        if len(context.text) <= exact:
            return model
        unit = model.text.astype(np.float32)
        return cls(context.text, decay, NearestItems.build(unit, context.seed, context.threads))

    def score(self, users: Users, items: ItemState) -> Floats:
        weights = users.repeats.long * recency(users, len(items.eligible), self.decay) * taste(users, self.graded)
        wanted = profile(users, weights, len(items.eligible)).astype(np.float64) @ self.text
        length = np.linalg.norm(wanted, axis=1, keepdims=True)
        wanted /= np.maximum(length, 1e-9)
        # In double precision, rounded once: the same for a batch of one and of many.
        if self.nearest is None:
            pool = self._pool.get(items, lambda: np.ascontiguousarray(self.text[items.pool].T))
            cosine = (wanted @ pool).astype(np.float32)
        else:
            found = self.nearest.search(wanted, REACH)
            near = np.einsum("ud,ucd->uc", wanted, self.text[found].astype(np.float64))
            cosine = spread(found, near, len(items.eligible), NOT_A_CANDIDATE)[:, items.pool]
        return np.where(length > 0, cosine, NOT_A_CANDIDATE)

    def save(self, folder: Path) -> None:
        # The vectors are the bundle's.
        write_json(folder / "parameters.json", {"dimensions": self.text.shape[1], "decay": self.decay})
        if self.nearest:
            self.nearest.save(folder)

    @classmethod
    def load(cls, folder: Path, context: Context) -> Self:
        parameters = read_json(folder / "parameters.json")
        if parameters["dimensions"] != context.text.shape[1]:
            raise ValueError(f"{folder}: fitted on text of {parameters['dimensions']} dimensions, not of this bundle")
        return cls(context.text, parameters["decay"], NearestItems.load(folder))

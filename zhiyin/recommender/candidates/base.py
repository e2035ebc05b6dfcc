"""The interface of every candidate generator."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import scipy.sparse as sp

from zhiyin.recommender.catalogue import Catalogue, Floats, ItemState
from zhiyin.recommender.history import History
from zhiyin.recommender.interest_encoder import InterestEncoder
from zhiyin.recommender.users import Users

NOT_A_CANDIDATE = np.float32(-np.inf)
Progress = Callable[[str, float, str], None]  # step, share done (0..1), a word on it


def silent(step: str, done: float, note: str) -> None:
    """A progress that nobody watches."""


@dataclass(frozen=True)
class Context:
    """What a generator may use besides the log when it is fitted."""

    catalogue: Catalogue
    text: Floats  # [items, d] standardised document vectors
    seed: int = 0
    threads: int = 1
    progress: Progress = silent
    fit_encoder: "Callable[[History, Context], InterestEncoder] | None" = None  # the loop lives with the training


class CandidateGenerator(ABC):
    """Proposes items for users.

    A generator is fitted once on a log that ends at a cut, and scores users from their state (and the items' state)
    at any later moment: the state is an input, not a parameter. A user's scores do not depend on who else is in the
    batch. Reasonable for catalogues of up to about 100,000 items, since scores are dense.
    """

    name: ClassVar[str]
    quota: ClassVar[int]  # how many of its best items become candidates

    @classmethod
    @abstractmethod
    def fit(cls, history: History, context: Context) -> Self:
        """Learn from the log alone."""

    @abstractmethod
    def score(self, users: Users, items: ItemState) -> Floats:
        """Float32 [users, items], higher is better, -inf for what is no candidate."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the parameters (safetensors, JSON) into an existing folder."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, context: Context) -> Self:
        """Read what ``save`` wrote; ``context`` is the bundle's."""


def profile(users: Users, weights: Floats, n_items: int) -> sp.csr_array:
    """Users' past items as sparse float32 [users, items], one weight per repeat entry."""
    repeats = users.repeats
    matrix = sp.csr_array((weights, (repeats.user, repeats.item)), shape=(len(users), n_items), dtype=np.float32)
    matrix.sort_indices()
    return matrix

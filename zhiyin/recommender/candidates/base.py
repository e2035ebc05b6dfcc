"""The interface of every candidate generator."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from zhiyin.recommender.candidates.space import Space
from zhiyin.recommender.encoder.interest_encoder import EncoderConfig, InterestEncoder
from zhiyin.recommender.state.catalogue import Catalogue, Floats, Integers, ItemState
from zhiyin.recommender.state.history import History
from zhiyin.recommender.state.users import Users

T = TypeVar("T")

NOT_A_CANDIDATE = np.float32(-np.inf)
Progress = Callable[[str, float, str], None]  # step, share done (0..1), a word on it
Record = Callable[[str, int, float], None]  # a point of a curve: its name, the step, the value


# Fits an interest encoder of a shape; the mapping holds settings of the loop that are not its defaults.
FitEncoder = Callable[[History, "Context", EncoderConfig, Mapping[str, Any]], InterestEncoder]


def silent(step: str, done: float, note: str) -> None:
    """A progress callback that does nothing."""


def unrecorded(name: str, step: int, value: float) -> None:
    """A record callback that does nothing."""


@dataclass(frozen=True)
class Context:
    """What a generator may use besides the log when it is fitted."""

    catalogue: Catalogue
    text: Floats  # [items, d] standardised document vectors
    seed: int = 0
    threads: int = 1
    progress: Progress = silent
    fit_encoder: "FitEncoder | None" = None  # the loop lives with the training
    record: Record = unrecorded
    users: "Callable[[float], pa.Table] | None" = None  # user_id and words as known at a moment (epoch seconds)


class Generator(ABC):
    """Proposes items for users.

    A generator is fitted once on a log that ends at a cut, and scores users from their state (and the items' state)
    at any later moment: the state is an input, not a parameter. A user's scores do not depend on who else is in the
    batch. Reasonable for catalogues of up to about 100,000 items, since scores are dense.
    """

    name: str
    quota: int  # how many of its best items become candidates
    new_quota: int | None = None  # of lists of what is new to the user; None: as many
    graded: bool = False  # whether what the user graded below the usual counts against items like it
    of_sessions: ClassVar[bool] = False  # whether it reads live sessions alone; without one it is not asked
    space: ClassVar[Space] = {}  # of the arguments of ``fit``: within what they are tuned

    @classmethod
    @abstractmethod
    def fit(cls, history: History, context: Context) -> Self:
        """Learn from the log alone; what a kind may be tuned by are further arguments, each with its default."""

    @abstractmethod
    def score(self, users: Users, items: ItemState) -> Floats:
        """Float32 [users, pool] of the eligible items, higher is better, -inf for what is no candidate."""


class CandidateGenerator(Generator):
    """A generator that a bundle can hold."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the parameters (safetensors, JSON) into an existing folder."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, context: Context) -> Self:
        """Read what ``save`` wrote; ``context`` is the bundle's."""


class PoolCache:
    """Keeps what a generator computes once for the pool of an items' state: the latest state's alone."""

    def __init__(self) -> None:
        self._kept: tuple[ItemState, Any] | None = None

    def get(self, items: ItemState, make: Callable[[], T]) -> T:
        """The value made for this very state; of two threads that make it at once, both get a right one."""
        kept = self._kept
        if kept is None or kept[0] is not items:
            kept = (items, make())
            self._kept = kept
        value: T = kept[1]
        return value


def top_items(scores: Floats, count: int) -> Integers:
    """Item indices of the best ``count`` scores of each row, best first, equal scores by item index."""
    count = min(count, scores.shape[1])
    if count < scores.shape[1]:
        top = np.sort(np.argpartition(-scores, count - 1, axis=1)[:, :count], axis=1)
    else:
        top = np.broadcast_to(np.arange(count), scores.shape).copy()
    order = np.argsort(-np.take_along_axis(scores, top, axis=1), axis=1, kind="stable")
    return np.take_along_axis(top, order, axis=1)


def recency(users: Users, n_items: int, decay: float) -> Floats:
    """``decay`` to the number of the user's baskets since the latest with the item, one weight per repeat entry.

    Items from before the sequence count as one basket older than its oldest.
    """
    repeats, sequence = users.repeats, users.sequence
    newest = np.full(len(users), -1)
    np.maximum.at(newest, sequence.user, sequence.basket)
    keys, place = np.unique(sequence.user * n_items + sequence.item, return_inverse=True)
    last = np.full(len(keys), -1)
    np.maximum.at(last, place, sequence.basket)
    wanted = repeats.user * n_items + repeats.item
    found = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
    latest = np.where(keys[found] == wanted, last[found], -1) if len(keys) else np.full(len(wanted), -1)
    return np.asarray(decay ** (newest[repeats.user] - latest), np.float32)


def taste(users: Users, graded: bool) -> Floats:
    """A factor for each repeat entry: below zero for what the user graded below the usual, 1 for all else."""
    return users.taste if graded else np.ones_like(users.repeats.long)


def profile(users: Users, weights: Floats, n_items: int) -> sp.csr_array:
    """Users' past items as sparse float32 [users, items], one weight per repeat entry."""
    repeats = users.repeats
    matrix = sp.csr_array((weights, (repeats.user, repeats.item)), shape=(len(users), n_items), dtype=np.float32)
    matrix.sort_indices()
    return matrix

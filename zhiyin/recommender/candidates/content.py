"""Content: scores items by their words and text vectors, so that items without any event can be proposed."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from safetensors.numpy import load_file

from zhiyin.recommender.candidates.base import NOT_A_CANDIDATE, CandidateGenerator, Context, profile, taste
from zhiyin.recommender.candidates.ials import Ials
from zhiyin.recommender.candidates.space import Range, Space
from zhiyin.recommender.state.catalogue import Catalogue, Floats, ItemState
from zhiyin.recommender.state.history import History
from zhiyin.recommender.state.users import Users
from zhiyin.store import read_json, write_arrays, write_json

WORDS = 1_000  # the most frequent of the documents'; the matrices are dense in words and text dimensions


class Content(CandidateGenerator):
    """A weighted sum of four standardised scores; an item's traits are its words and its text vector.

    ``own``: a ridge regression per user of what the user has on the items' traits; all users share the left side of the
    normal equations, so a user's coefficients are one product with the profile. ``alike``: the user's iALS factors
    times the items' factors as regressed on the traits (Gantner et al. 2010, ICDM). ``demand``: the logarithm of an
    item's buyers, regressed on the traits.
    ``near``: cosine of the text vector and the mean of the user's own.
    """

    name = "content"
    quota = 30
    space: ClassVar[Space] = {
        "ridge": Range(1.0, 100.0, log=True),
        "own": Range(0.0, 3.0),
        "alike": Range(0.0, 4.0),
        "demand": Range(0.0, 2.0),
        "near": Range(0.0, 3.0),
    }

    def __init__(
        self, traits: Floats, solver: Floats, expected: Floats, text: Floats, factors: Ials, weights: dict[str, float]
    ) -> None:
        self.traits = traits  # [items, traits]
        self.solver = solver  # [items, traits]: from a profile to coefficients; zero for items without an event
        self.expected = expected  # [items]
        self.text = text / np.maximum(np.linalg.norm(text, axis=1, keepdims=True), 1e-9)
        self.factors = factors  # of all items, regressed on the traits
        self.weights = weights

    @classmethod
    def fit(
        cls,
        history: History,
        context: Context,
        ridge: float = 10.0,
        own: float = 1.0,
        alike: float = 2.0,
        demand: float = 0.5,
        near: float = 1.0,
        factors: Mapping[str, Any] | None = None,
    ) -> Self:
        traits = _traits(context.catalogue, context.text)
        warm = history.item_counts > 0
        known = traits[warm].astype(np.float64)
        gram = known.T @ known + ridge * np.eye(traits.shape[1])
        solver = np.zeros(traits.shape, np.float32)
        solver[warm] = scipy.linalg.solve(gram, known.T, assume_a="pos").T
        pairs = np.unique(history.user * history.n_items + history.item) % history.n_items
        buyers = np.log1p(np.bincount(pairs, minlength=history.n_items))
        expected = traits @ (((buyers - buyers[warm].mean()) * warm).astype(np.float32) @ solver)
        model = Ials.fit(history, context, **{"factors": 32, "confidence": 3.0, **(factors or {})})
        model.factors = traits @ (solver.T @ model.factors)
        weights = {"own": own, "alike": alike, "demand": demand, "near": near}
        return cls(traits, solver, expected, context.text, model, weights)

    def score(self, users: Users, items: ItemState) -> Floats:
        n_items, pool = len(items.eligible), items.pool
        liked = taste(users, self.graded)
        self.factors.graded = self.graded
        has = profile(users, liked, n_items)
        parts = {
            "own": (has @ self.solver) @ self.traits[pool].T,
            "alike": self.factors.score(users, items),
            "demand": np.broadcast_to(self.expected[pool], (len(users), len(pool))),
            "near": (profile(users, users.repeats.long * liked, n_items) @ self.text) @ self.text[pool].T,
        }
        known = np.diff(has.indptr) > 0
        scores = np.full((len(users), len(pool)), NOT_A_CANDIDATE, np.float32)
        scores[known] = sum(
            weight * _standardised(parts[name][known]) for name, weight in self.weights.items() if weight
        )
        return scores

    def save(self, folder: Path) -> None:
        write_arrays(
            folder / "content.safetensors", {"traits": self.traits, "solver": self.solver, "expected": self.expected}
        )
        write_json(folder / "weights.json", self.weights)
        (folder / "factors").mkdir()
        self.factors.save(folder / "factors")

    @classmethod
    def load(cls, folder: Path, context: Context) -> Self:
        parts = load_file(folder / "content.safetensors")
        factors = Ials.load(folder / "factors", context)
        learned = parts["traits"], parts["solver"], parts["expected"]
        return cls(*learned, context.text, factors, read_json(folder / "weights.json"))


def _standardised(scores: Floats) -> Floats:
    """Each user's scores in standard deviations from the mean of the items to choose from."""
    return np.asarray((scores - scores.mean(axis=1, keepdims=True)) / (scores.std(axis=1, keepdims=True) + 1e-9))


def _traits(catalogue: Catalogue, text: Floats) -> Floats:
    """Text vectors and words by rarity, both of unit length, and a one: [items, traits]."""
    documents = [set(str(text).lower().replace(",", " ").split()) for text in catalogue.table["document"].to_pylist()]
    counts = Counter(word for document in documents for word in document)
    vocabulary = {word: at for at, (word, n) in enumerate(counts.most_common(WORDS)) if n > 1}
    entries = [
        (row, vocabulary[word]) for row, found in enumerate(documents) for word in sorted(found & vocabulary.keys())
    ]
    row, column = np.array(entries, np.int64).reshape(-1, 2).T
    rarity = np.log(len(documents) / np.bincount(column, minlength=len(vocabulary)).clip(1))
    bag = sp.csr_array((rarity[column], (row, column)), (len(documents), len(vocabulary)))
    length = np.sqrt(np.asarray(bag.power(2).sum(axis=1)))
    bag = bag.toarray() / np.maximum(length, 1e-9)[:, None]
    unit = text / np.maximum(np.linalg.norm(text, axis=1, keepdims=True), 1e-9)
    return np.column_stack([unit, bag, np.ones(len(text))]).astype(np.float32)

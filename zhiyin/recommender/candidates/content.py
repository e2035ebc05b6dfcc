"""Content: what of an item's description a user goes for, and what of it sells; scores items that nobody has yet."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from zhiyin.recommender.candidates.base import NOT_A_CANDIDATE, Context, Generator, profile, recency
from zhiyin.recommender.candidates.ials import Ials
from zhiyin.recommender.catalogue import Catalogue, Floats, ItemState
from zhiyin.recommender.history import History
from zhiyin.recommender.users import Users

WORDS = 1_000  # the most frequent of the documents'; the matrices are dense in words and text dimensions


class Content(Generator):
    """A ridge regression per user of what the user has on words and text vectors of the items, and one of demand.

    All users share the left side of the normal equations, so a user's coefficients are one product with the profile.
    ``demand`` weighs the logarithm of the buyers that the content lets one expect (for items without any) or has had.
    """

    name = "content"
    quota = 30

    def __init__(
        self,
        traits: Floats,
        solver: Floats,
        expected: Floats,
        demand: float,
        decay: float,
        factors: Ials | None = None,
        factor_weight: float = 0.0,
    ) -> None:
        self.traits = traits  # [items, traits]
        self.solver = solver  # [items, traits]: from a profile to coefficients; zero for items without an event
        self.expected = expected  # [items], standardised
        self.demand = demand
        self.decay = decay
        self.factors = factors  # of all items, regressed on the traits
        self.factor_weight = factor_weight

    @classmethod
    def fit(
        cls,
        history: History,
        context: Context,
        ridge: float = 30.0,
        words: float = 1.0,
        demand: float = 0.5,
        decay: float = 1.0,
        factor_weight: float = 1.0,
        factors: Mapping[str, Any] | None = None,
    ) -> Self:
        traits = _traits(context.catalogue, context.text, words)
        warm = history.item_counts > 0
        known = traits[warm].astype(np.float64)
        gram = known.T @ known + ridge * np.eye(traits.shape[1])
        solver = np.zeros(traits.shape)
        solver[warm] = scipy.linalg.solve(gram, known.T, assume_a="pos").T
        pairs = np.unique(history.user * history.n_items + history.item) % history.n_items
        buyers = np.log1p(np.bincount(pairs, minlength=history.n_items))
        mean, spread = buyers[warm].mean(), buyers[warm].std() + 1e-9
        expected = traits @ (((buyers - mean) / spread * warm) @ solver)
        arrays = traits, solver.astype(np.float32), expected.astype(np.float32)
        if not factor_weight:
            return cls(*arrays, demand, decay)
        model = Ials.fit(history, context, **(factors or {}))
        model.factors = (traits @ (arrays[1].T @ model.factors)).astype(np.float32)
        return cls(*arrays, demand, decay, model, factor_weight)

    def score(self, users: Users, items: ItemState) -> Floats:
        n_items = len(items.eligible)
        asked = profile(users, recency(users, n_items, self.decay), n_items)
        taste = (asked @ self.solver) @ self.traits.T
        spread = taste.std(axis=1, keepdims=True)
        known = spread[:, 0] > 0
        scores = np.full(taste.shape, NOT_A_CANDIDATE, np.float32)
        scores[known] = taste[known] / spread[known] + self.demand * self.expected
        if self.factors is not None:
            alike = self.factors.score(users, items)[known]
            scores[known] += self.factor_weight * alike / alike.std(axis=1, keepdims=True)
        return scores


def _traits(catalogue: Catalogue, text: Floats, words: float) -> Floats:
    """Text vectors of about unit length, words by rarity of about the length ``words``, and a one: [items, traits]."""
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
    bag = bag.toarray() / np.maximum(length, 1e-9)[:, None] * words
    unit = text / np.maximum(np.linalg.norm(text, axis=1, keepdims=True), 1e-9)
    return np.column_stack([unit, bag, np.ones(len(text))]).astype(np.float32)

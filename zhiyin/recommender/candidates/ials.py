"""iALS: matrix factorisation of implicit feedback by alternating least squares."""

from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import scipy.sparse as sp
from safetensors.numpy import load_file

from zhiyin.recommender.candidates.base import NOT_A_CANDIDATE, CandidateGenerator, Context, profile, recency, taste
from zhiyin.recommender.candidates.space import Range, Space
from zhiyin.recommender.state.catalogue import Floats, ItemState
from zhiyin.recommender.state.history import History
from zhiyin.recommender.state.users import Users
from zhiyin.store import read_json, write_arrays, write_json

ENTRIES_AT_ONCE = 100_000  # bounds memory: two gathered rows of factors for each
STEPS = 3  # of conjugate gradients in training, as in implicit; a user is folded in with more
FOLD_IN_STEPS = 12


class Ials(CandidateGenerator):
    """Hu, Koren and Volinsky 2008 (ICDM); see also Rendle et al. 2021 (arXiv:2110.14037).

    Each step solves all rows at once by a few conjugate gradients (Takacs et al. 2011, RecSys). A user's vector is
    computed from the profile, so users who came after the fit are scored as well.
    """

    name = "ials"
    quota = 60
    space: ClassVar[Space] = {
        "factors": Range(16, 256, log=True),
        "confidence": Range(1.0, 100.0, log=True),
        "ridge": Range(1.0, 300.0, log=True),
        "decay": Range(0.7, 1.0),
    }

    def __init__(self, factors: Floats, confidence: float, ridge: float, decay: float) -> None:
        self.factors = factors  # float32 [items, factors]
        self.confidence = confidence
        self.ridge = ridge
        self.decay = decay

    @classmethod
    def fit(
        cls,
        history: History,
        context: Context,
        factors: int = 64,
        confidence: float = 10.0,
        ridge: float = 10.0,
        iterations: int = 12,
        decay: float = 1.0,
    ) -> Self:
        n, shape = history.n_items, (history.n_users, history.n_items)
        pairs, count = np.unique(history.user * n + history.item, return_counts=True)
        weights = (confidence * np.sqrt(count)).astype(np.float32)
        matrix = sp.csr_array((weights, (pairs // n, pairs % n)), shape)
        transposed = matrix.T.tocsr()
        random = np.random.default_rng(context.seed)
        users, items = (random.normal(scale=0.1, size=(size, factors)).astype(np.float32) for size in shape)
        for done in range(iterations):
            users = _solve(matrix, items, users, ridge, STEPS)
            items = _solve(transposed, users, items, ridge, STEPS)
            context.progress("ials", (done + 1) / iterations, f"iteration {done + 1}")
        return cls(items, confidence, ridge, decay)

    def score(self, users: Users, items: ItemState) -> Floats:
        n_items = len(items.eligible)
        weights = np.sqrt(users.repeats.baskets) * recency(users, n_items, self.decay)
        # A confidence is not negative: what the user graded below the usual counts as not taken.
        asked = profile(users, self.confidence * weights * (taste(users, self.graded) > 0), n_items)
        asked.eliminate_zeros()
        start = np.zeros((len(users), self.factors.shape[1]), np.float32)
        scores = _solve(asked, self.factors, start, self.ridge, FOLD_IN_STEPS) @ self.factors[items.pool].T
        scores[np.diff(asked.indptr) == 0] = NOT_A_CANDIDATE
        return scores.astype(np.float32)

    def save(self, folder: Path) -> None:
        write_arrays(folder / "ials.safetensors", {"factors": self.factors})
        write_json(
            folder / "parameters.json", {"confidence": self.confidence, "ridge": self.ridge, "decay": self.decay}
        )

    @classmethod
    def load(cls, folder: Path, context: Context) -> Self:
        return cls(load_file(folder / "ials.safetensors")["factors"], **read_json(folder / "parameters.json"))


def _solve(matrix: sp.csr_array, fixed: Floats, start: Floats, ridge: float, steps: int) -> Floats:
    """Rows that minimise the weighted square error of each row of ``matrix`` (its extra confidence) plus the ridge."""
    gram = fixed.T @ fixed + ridge * np.eye(fixed.shape[1], dtype=np.float32)
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    weighted = sp.csr_array((matrix.data, matrix.indices, matrix.indptr), matrix.shape)

    def times(vectors: Floats) -> Floats:
        dots = np.empty(len(rows), np.float32)
        for part in range(0, len(rows), ENTRIES_AT_ONCE):
            here = slice(part, part + ENTRIES_AT_ONCE)
            dots[here] = np.einsum("ij,ij->i", vectors[rows[here]], fixed[matrix.indices[here]])
        weighted.data = matrix.data * dots
        return np.asarray(vectors @ gram + weighted @ fixed)

    weighted.data = 1 + matrix.data
    solution, residual = start, weighted @ fixed
    residual = residual - times(start)
    direction, size = residual, np.einsum("ij,ij->i", residual, residual)
    for _ in range(steps):
        image = times(direction)
        along = np.einsum("ij,ij->i", direction, image)
        stride = np.divide(size, along, out=np.zeros_like(size), where=along > 1e-12)[:, None]
        solution, residual = solution + stride * direction, residual - stride * image
        smaller = np.einsum("ij,ij->i", residual, residual)
        turn = np.divide(smaller, size, out=np.zeros_like(size), where=size > 1e-12)
        direction, size = residual + turn[:, None] * direction, smaller
    return solution

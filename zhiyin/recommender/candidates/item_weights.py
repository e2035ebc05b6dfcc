"""EASE's item-item weights (Steck 2019, arXiv:1905.03375): exact, or of low rank where memory is short."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.sparse as sp

from zhiyin.recommender.state.catalogue import Floats

MEMORY_LIMIT = 2 * 2**30  # bytes that an exact fit may take: 13,377 items
RANK = 256
PASSES = 4  # over the log, of the subspace iteration
EXTRA = 32  # dimensions of the subspace beyond the rank

Arrays = dict[str, npt.NDArray[np.generic]]


def exact_bytes(n_items: int) -> int:
    """What the exact matrix takes while it is fitted: Gram matrix, inverse and weights in single precision."""
    return 3 * 4 * n_items * n_items


class ItemWeights(ABC):
    """Weights [items, items] with a zero diagonal."""

    @abstractmethod
    def times(self, asked: sp.csr_array) -> npt.NDArray[np.floating]:
        """``asked`` [users, items] times the weights, dense; a user's row is the same in every batch."""

    @abstractmethod
    def arrays(self) -> Arrays:
        """What a bundle keeps."""


@dataclass(frozen=True)
class Exact(ItemWeights):
    weights: Floats

    @classmethod
    def fit(cls, matrix: sp.csr_array, ridge: float) -> "Exact":
        gram = (matrix.T @ matrix).toarray()
        gram[np.diag_indices_from(gram)] += ridge
        factor, _ = scipy.linalg.cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
        inverse, info = scipy.linalg.lapack.spotri(factor, lower=1, overwrite_c=1)
        if info:
            raise ValueError(f"EASE: the Gram matrix of {len(gram)} items could not be inverted (LAPACK info {info})")
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        weights = -inverse / np.diag(inverse)
        np.fill_diagonal(weights, 0.0)
        # Half precision in the bundle; rounded here so that a loaded model scores as the fitted one.
        return cls(weights.astype(np.float16).astype(np.float32))

    def times(self, asked: sp.csr_array) -> npt.NDArray[np.floating]:
        # Sparse times dense goes user by user, so a user's sums have one order in every batch.
        return np.asarray(asked @ self.weights)

    def arrays(self) -> Arrays:
        return {"weights": self.weights.astype(np.float16)}


@dataclass(frozen=True)
class LowRank(ItemWeights):
    """EASE of the best approximation of the log by ``RANK`` dimensions, in closed form.

    With right singular vectors V and shares D = s² / (s² + ridge) the inverse of the ridged Gram matrix is
    (I - V D V') / ridge, so that the weight of i for j is (V D V')_ij / (1 - (V D V')_jj). ``left`` is V sqrt(D),
    float32 [items, rank].
    """

    left: Floats

    @classmethod
    def fit(cls, matrix: sp.csr_array, ridge: float, seed: int, rank: int = RANK) -> "LowRank":
        """By randomised subspace iteration (Halko, Martinsson and Tropp 2011)."""
        width = min(rank + EXTRA, *matrix.shape)
        start = np.random.default_rng(seed).normal(size=(matrix.shape[1], width)).astype(np.float32)
        basis, _ = np.linalg.qr(matrix @ start)
        for _ in range(PASSES):
            across, _ = np.linalg.qr(matrix.T @ basis)
            basis, _ = np.linalg.qr(matrix @ across)
        _, sizes, right = scipy.linalg.svd((matrix.T @ basis).T, full_matrices=False)
        kept = sizes[:rank].astype(np.float64)
        share = kept**2 / (kept**2 + ridge)
        return cls((right[:rank].T * np.sqrt(share)).astype(np.float32))

    def _rest(self) -> npt.NDArray[np.float64]:
        left = self.left.astype(np.float64)
        return np.asarray(1 - np.einsum("ij,ij->i", left, left))

    def times(self, asked: sp.csr_array) -> npt.NDArray[np.floating]:
        # In double precision, rounded once by the caller: the same for a batch of one and of many.
        left, rest, asked = self.left.astype(np.float64), self._rest(), asked.astype(np.float64)
        return np.asarray(((asked @ left) @ left.T - asked.toarray() * (1 - rest)) / rest)

    def arrays(self) -> Arrays:
        return {"left": self.left}

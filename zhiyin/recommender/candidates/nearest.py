"""Approximate nearest items, for catalogues too large to compute every inner product."""

from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from zhiyin.recommender.state.catalogue import Floats, Integers

EXACT = 1_000_000  # items up to which a vector generator scores all: about 45 ms a user at 64 dimensions
REACH = 500  # items of a user that have a score above that
RECALL = 0.985  # at ``TOP``, which a build reaches before it ends
TOP = 100
ITEMS_A_LIST = 40  # at least, on average
QUERIES = 256  # on which a build measures it, means of ...
MIX = 5  # ... so many items


class NearestItems:
    """Items of the largest inner products with a query: faiss' inverted file (IVF) of half-precision vectors.

    IVF: Jegou et al. 2011 (TPAMI); faiss: Johnson et al. 2017 (arXiv:1702.08734). One more dimension turns inner
    products into distances (Bachrach et al. 2014, RecSys). The number of lists per search is doubled until the
    recall is ``RECALL`` on means of random items, which are harder queries than users' means. The same vectors, seed
    and threads give the same index.
    """

    def __init__(self, index: Any) -> None:
        self._index = index

    @classmethod
    def build(cls, vectors: Floats, seed: int = 0, threads: int = 1) -> Self:
        """From float32 [items, d]."""
        import faiss

        faiss.omp_set_num_threads(threads)
        square = np.einsum("ij,ij->i", vectors, vectors)
        longer = np.sqrt(np.maximum(square.max() - square, 0))
        lengthened = _padded(vectors, longer)
        lists = max(min(int(4 * np.sqrt(len(vectors))), len(vectors) // ITEMS_A_LIST), 1)
        index: Any = faiss.index_factory(lengthened.shape[1], f"IVF{lists},SQfp16")
        index.cp.seed, index.cp.niter, index.cp.max_points_per_centroid = seed, 5, 40
        index.train(lengthened)
        index.add(lengthened)
        random = np.random.default_rng(seed)
        queries = vectors[random.integers(len(vectors), size=(QUERIES, MIX))].mean(axis=1)
        _, exact = faiss.knn(queries, vectors, min(TOP, len(vectors)), faiss.METRIC_INNER_PRODUCT)
        made = cls(index)
        index.nprobe = max(lists // 64, 1)
        while recall(made.search(queries, TOP), exact) < RECALL and index.nprobe < lists:
            index.nprobe = min(2 * index.nprobe, lists)
        return made

    @property
    def read_share(self) -> float:
        """Share of the lists that a search reads."""
        return float(self._index.nprobe / self._index.nlist)

    def search(self, queries: npt.NDArray[np.floating], count: int) -> Integers:
        """Item indices [users, count] of ``queries`` [users, d], best first, -1 past the end."""
        flat = _padded(queries, np.zeros(len(queries)))
        _, found = self._index.search(flat, min(count, self._index.ntotal))
        return np.asarray(found, np.int64)

    def save(self, folder: Path) -> None:
        import faiss

        faiss.write_index(self._index, str(folder / "nearest.faiss"))

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """None where the folder holds no index: all items are scored."""
        if not (folder / "nearest.faiss").is_file():
            return None
        import faiss

        return cls(faiss.read_index(str(folder / "nearest.faiss")))


def _padded(vectors: npt.NDArray[np.floating], last: npt.NDArray[np.floating]) -> Floats:
    """With one more dimension, and zeros up to a multiple of 8, by which the index reads at full speed."""
    n, width = vectors.shape
    padded = np.zeros((n, -(-(width + 1) // 8) * 8), np.float32)
    padded[:, :width], padded[:, width] = vectors, last
    return padded


def recall(found: Integers, exact: Integers) -> float:
    """Share of the exact items [queries, k] that were found [queries, at least k]."""
    hits = (exact[:, :, None] == found[:, None, :]).any(axis=2)
    return float(hits.mean())


def spread(found: Integers, scores: npt.NDArray[np.floating], n_items: int, absent: np.float32) -> Floats:
    """Scores [users, count] of the items ``found`` as float32 [users, items], ``absent`` for all others."""
    dense = np.full((len(found), n_items), absent, np.float32)
    user, place = np.nonzero(found >= 0)
    dense[user, found[user, place]] = scores[user, place]
    return dense

"""The nearest items of each item as a sparse matrix: how it is made from weights, kept and read again."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from safetensors.numpy import load_file

from zhiyin.recommender.candidates.base import Progress, silent, top_items
from zhiyin.recommender.state.catalogue import Integers
from zhiyin.store import write_arrays

ITEMS_AT_ONCE = 1_024  # dense similarities of so many items: 80 MB for a catalogue of 20,000


def nearest_items(
    weights: sp.csr_array, kept: Integers, n_items: int, neighbours: int, itself: bool, progress: Progress = silent
) -> sp.csr_array:
    """The ``neighbours`` largest products of each row with every row: float32 [items, items].

    ``weights``: sparse [kept, n], a row per item of ``kept`` (catalogue indices). ``itself``: an item may be its own
    neighbour.
    """
    n = len(kept)
    rows, columns, values = [], [], []
    for start in range(0, n, ITEMS_AT_ONCE):
        found = (weights[start : start + ITEMS_AT_ONCE] @ weights.T).toarray()
        here = np.arange(len(found))
        if not itself:
            found[here, start + here] = 0.0
        best = top_items(found, neighbours)
        rows.append(np.repeat(kept[start + here], best.shape[1]))
        columns.append(kept[best].ravel())
        values.append(np.take_along_axis(found, best, axis=1).ravel())
        progress("neighbours", min(start / n, 1.0), f"{start:,} of {n:,} items")
    place = (np.concatenate(rows), np.concatenate(columns))
    similar = sp.csr_array((np.concatenate(values), place), (n_items, n_items), dtype=np.float32)
    similar.eliminate_zeros()
    similar.sort_indices()
    return similar


def write_neighbours(path: Path, similar: sp.csr_array, **facts: float) -> None:
    """Keep the matrix and numbers beside it."""
    arrays: dict[str, npt.NDArray[np.generic]] = {name: np.array([value]) for name, value in facts.items()}
    write_arrays(path, arrays | {"data": similar.data, "indices": similar.indices, "indptr": similar.indptr})


def read_neighbours(path: Path, n_items: int) -> tuple[sp.csr_array, dict[str, float]]:
    """What ``write_neighbours`` kept."""
    parts = load_file(path)
    similar = sp.csr_array((parts.pop("data"), parts.pop("indices"), parts.pop("indptr")), (n_items, n_items))
    return similar, {name: float(value[0]) for name, value in parts.items()}

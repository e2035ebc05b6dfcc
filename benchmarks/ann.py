"""Approximate nearest items against exact inner products, on random clustered vectors of different norms.

    OMP_NUM_THREADS=1 python -m benchmarks.ann [--items 100000 1000000] [--width 64]

Queries are means of five items, like users' vectors. Recall at 100 of the exact items. Latency: one query, on one core,
its 500 best; exact in double precision, as generators score below the limit. Memory: the growth of the process.
"""

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

import faiss
import numpy as np
import psutil
import torch

from benchmarks import finish, say
from zhiyin.recommender.candidates.base import top_items
from zhiyin.recommender.candidates.nearest import REACH, TOP, NearestItems, recall
from zhiyin.recommender.state.catalogue import Floats

QUERIES, TIMED = 100, 20


def clustered(items: int, width: int) -> Floats:
    """A thousand clusters of different size; the vectors' lengths differ as popularity does."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(1_000, width)).astype(np.float32)
    vectors = centres[(1_000 * random.random(items) ** 2).astype(np.int64)]
    vectors += 0.7 * random.standard_normal((items, width), np.float32)
    vectors *= random.lognormal(0, 0.25, (items, 1)).astype(np.float32)
    return vectors


def milliseconds(call: Callable[[Any], Any], queries: Floats) -> float:
    """Median over single queries."""
    took = []
    for row in range(TIMED):
        start = time.perf_counter()
        call(queries[row : row + 1])
        took.append(1e3 * (time.perf_counter() - start))
    return float(np.median(took))


def measure(items: int, width: int) -> dict[str, Any]:
    vectors = clustered(items, width)
    queries = vectors[np.random.default_rng(1).integers(items, size=(QUERIES, 5))].mean(axis=1)
    exact = np.concatenate([top_items(queries[part : part + 20] @ vectors.T, TOP) for part in range(0, QUERIES, 20)])
    process = psutil.Process()
    before, start = process.memory_info().rss, time.perf_counter()
    index = NearestItems.build(vectors, threads=os.cpu_count() or 1)
    faiss.omp_set_num_threads(1)
    built, grown = time.perf_counter() - start, process.memory_info().rss - before
    double = np.ascontiguousarray(vectors.T.astype(np.float64))
    return {
        "items": items,
        "width": width,
        "recall at 100": recall(index.search(queries, TOP), exact),
        "share read": index.read_share,
        "index ms": milliseconds(lambda query: index.search(query, REACH), queries),
        "exact ms": milliseconds(lambda query: top_items((query @ double).astype(np.float32), REACH), queries),
        "index MB": grown / 1e6,
        "vectors MB": vectors.nbytes / 1e6,
        "build s": built,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--width", type=int, default=64)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for items in arguments.items:
        rows.append(measure(items, arguments.width))
        say(", ".join(f"{name} {value:,.3f}" for name, value in rows[-1].items()))
    finish("ann", {"rows": rows})


if __name__ == "__main__":
    main()

"""The text tower made smaller: size, latency and accuracy of each way, in one table.

    python -m benchmarks.compression [--documents 2000]

Documents of the Complete Journey's products. Accuracy against float32: the mean cosine, and how many of a document's
ten nearest neighbours stay. A pruned tower is the same weights with its last layers left out; it was not trained again.
"""

import argparse
import io
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks import finish, say
from benchmarks.encode import documents
from zhiyin.recommender.catalogue import Floats
from zhiyin.recommender.text_encoder import TextEncoder
from zhiyin.settings import get_settings

NEIGHBOURS = 10


def pruned(layers: int) -> Callable[[str, int], TextEncoder]:
    """The tower in its default precision with its first ``layers`` layers alone."""

    def make(name: str, threads: int) -> TextEncoder:
        encoder = TextEncoder(name, threads)
        encoder._model.encoder.layer = encoder._model.encoder.layer[:layers]
        return encoder

    return make


def neighbours(vectors: Floats) -> np.ndarray[Any, np.dtype[np.int64]]:
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -np.inf)
    return np.argsort(-scores, axis=1, kind="stable")[:, :NEIGHBOURS]


def stay(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    """Share of each row's entries in ``one`` that its row in ``other`` holds."""
    return float((one[:, :, None] == other[:, None, :]).any(axis=2).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=2_000)
    texts, settings = documents(parser.parse_args().documents), get_settings()
    ways: dict[str, Callable[[str, int], TextEncoder]] = {
        "float32": lambda name, threads: TextEncoder(name, threads, "float32"),
        "bfloat16": lambda name, threads: TextEncoder(name, threads, "bfloat16"),
        "int8": lambda name, threads: TextEncoder(name, threads, "int8"),
        "default, first 4 layers": pruned(4),
        "default, first 2 layers": pruned(2),
    }
    rows: list[dict[str, Any]] = []
    exact: Floats | None = None
    for way, make in ways.items():
        encoder = make(settings.text_encoder, settings.threads)
        encoder.encode(texts[:64])
        cpu, wall = time.process_time(), time.perf_counter()
        vectors = encoder.encode(texts)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        single = []
        for text in texts[:40]:
            started = time.perf_counter()
            encoder.encode([text])
            single.append(time.perf_counter() - started)
        exact = vectors if exact is None else exact
        rows.append(
            {
                "way": way,
                "megabytes": _megabytes(encoder),
                "texts_a_second": round(len(texts) / wall, 1),
                "texts_a_cpu_second": round(len(texts) / cpu, 1),
                "one_text_milliseconds": round(1000 * float(np.median(single)), 2),
                "cosine": round(float((vectors * exact).sum(axis=1).mean()), 5),
                "neighbours_kept": round(stay(neighbours(exact), neighbours(vectors)), 4),
            }
        )
        rows[-1]["speed_to_float32"] = round(rows[-1]["texts_a_cpu_second"] / rows[0]["texts_a_cpu_second"], 2)
        say(str(rows[-1]))
    finish("compression", {"documents": len(texts), "threads": settings.threads, "ways": rows})


def _megabytes(encoder: TextEncoder) -> float:
    """Of the weights, as they would lie on disk."""
    buffer = io.BytesIO()
    torch.save(encoder._model.state_dict(), buffer)  # measured, never read: safetensors knows no packed int8 weights
    return round(buffer.tell() / 1e6, 1)


if __name__ == "__main__":
    main()

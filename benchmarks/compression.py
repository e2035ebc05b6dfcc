"""Compression of the text tower: size, latency and accuracy of each method, in one table.

    python -m benchmarks.compression [--layers 3] [--documents N]

Documents of the Complete Journey's products that could be recommended on 2017-11-17. Against float32: the mean cosine,
on a tenth of the documents that no distillation saw, and the share of the ten nearest neighbours that stay. NDCG@10:
of text neighbours on the validation window, the 14 days from then on. A pruned tower has the first layers alone; a
distilled one was trained on the full tower's vectors of the others. ONNX: with the extra ``onnx``, else left out.
"""

import argparse
import importlib.util
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import finish, onnx_tower, say
from benchmarks.encoder_data import complete_journey, score_text
from training.text.distillation import distil, prune
from training.text.encode_items import TextBasis
from zhiyin.recommender.encoder.text_encoder import TextEncoder
from zhiyin.recommender.state.catalogue import Floats
from zhiyin.settings import get_settings

NEIGHBOURS = 10
CUT = "2017-11-17"  # of the validation window


def neighbours(vectors: Floats) -> torch.Tensor:
    scores = torch.from_numpy(vectors @ vectors.T).fill_diagonal_(-torch.inf)
    return scores.topk(NEIGHBOURS, dim=1).indices


def stay(one: torch.Tensor, other: torch.Tensor) -> float:
    """Share of each row's entries in ``one`` that its row in ``other`` holds."""
    return float((one[:, :, None] == other[:, None, :]).any(dim=2).float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=3, help="of the pruned tower")
    parser.add_argument("--documents", type=int, help="time and score so many; no NDCG then")
    arguments = parser.parse_args()
    settings, task = get_settings(), complete_journey(CUT)
    name, threads = settings.text_encoder, settings.threads
    texts, item = np.unique(np.array(task.documents, object), return_inverse=True)
    documents: list[str] = texts.tolist()[: arguments.documents]
    unseen = np.arange(len(documents)) % 10 == 0

    with tempfile.TemporaryDirectory() as scratch:
        exact = TextEncoder(name, threads, "float32").encode(documents)
        small, distilled = f"{scratch}/pruned", f"{scratch}/distilled"
        learner = TextEncoder(name, threads, "float32")
        prune(learner, arguments.layers)
        learner.save(Path(small))
        seen = [text for text, left_out in zip(documents, unseen, strict=True) if not left_out]
        started = time.process_time()
        distil(learner, seen, exact[~unseen], settings.seed, lambda step, done, note: None)
        seconds = time.process_time() - started
        say(f"distilled in {seconds:.0f} CPU seconds")
        learner.save(Path(distilled))
        torch.use_deterministic_algorithms(False)
        layers = f"first {arguments.layers} layers"
        ways: dict[str, Callable[[], TextEncoder]] = {
            "float32": lambda: TextEncoder(name, threads, "float32"),
            "bfloat16": lambda: TextEncoder(name, threads, "bfloat16"),
            "int8": lambda: TextEncoder(name, threads, "int8"),
            f"{layers}, bfloat16": lambda: TextEncoder(small, threads, "bfloat16"),
            f"{layers} distilled, float32": lambda: TextEncoder(distilled, threads, "float32"),
            f"{layers} distilled, bfloat16": lambda: TextEncoder(distilled, threads, "bfloat16"),
        }
        if importlib.util.find_spec("onnxruntime"):
            for title, folder in (("", name), (f"{layers} distilled, ", distilled)):
                whole = Path(scratch) / f"{len(ways)}.onnx"
                onnx_tower.export(TextEncoder(folder, threads, "float32"), whole)
                onnx_tower.quantize(whole, whole.with_suffix(".int8.onnx"))
                for precision, path in (("float32", whole), ("int8", whole.with_suffix(".int8.onnx"))):
                    ways[f"{title}ONNX {precision}"] = _onnx(folder, threads, path)
        else:
            say("onnxruntime is not installed: pip install -c constraints.txt '.[onnx]'")
        rows: list[dict[str, Any]] = []
        for way, make in ways.items():
            encoder = make()
            figures, vectors = _time(encoder, documents)
            rows.append({"way": way, "megabytes": _megabytes(encoder), **figures})
            rows[-1]["speed_to_float32"] = round(rows[-1]["texts_a_cpu_second"] / rows[0]["texts_a_cpu_second"], 2)
            rows[-1]["cosine"] = round(float((vectors * exact).sum(axis=1)[unseen].mean()), 5)
            rows[-1]["neighbours_kept"] = round(stay(neighbours(exact), neighbours(vectors)), 4)
            if arguments.documents is None:
                text = TextBasis.of(vectors[item]).standardise(vectors[item])
                rows[-1]["ndcg"] = round(float(score_text(task, text).mean()), 4)
            say(str(rows[-1]))
    facts = {"documents": len(documents), "threads": threads, "distillation_cpu_seconds": round(seconds)}
    finish("compression", {**facts, "ways": rows})


def _onnx(folder: str, threads: int, path: Path) -> Callable[[], TextEncoder]:
    return lambda: onnx_tower.OnnxEncoder(folder, threads, path)


def _time(encoder: TextEncoder, documents: list[str]) -> tuple[dict[str, float], Floats]:
    """Speed over all documents, and the median latency of one alone; their vectors."""
    encoder.encode(documents[:64])
    cpu, wall = time.process_time(), time.perf_counter()
    vectors = encoder.encode(documents)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    single = []
    for text in documents[:40]:
        started = time.perf_counter()
        encoder.encode([text])
        single.append(time.perf_counter() - started)
    figures = {
        "texts_a_second": round(len(documents) / wall, 1),
        "texts_a_cpu_second": round(len(documents) / cpu, 1),
        "one_text_milliseconds": round(1000 * float(np.median(single)), 2),
    }
    return figures, vectors


def _megabytes(encoder: TextEncoder) -> float:
    """Of the weights, as they would lie on disk."""
    if isinstance(encoder, onnx_tower.OnnxEncoder):
        return round(encoder.path.stat().st_size / 1e6, 1)
    buffer = io.BytesIO()
    torch.save(encoder.model.state_dict(), buffer)  # measured, never read: safetensors knows no packed int8 weights
    return round(buffer.tell() / 1e6, 1)


if __name__ == "__main__":
    main()

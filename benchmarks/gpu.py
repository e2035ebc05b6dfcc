"""Speed of the two towers on a GPU, against its own limits: needs torch, numpy, safetensors (and transformers).

    python -m benchmarks.gpu [--small]

Measured first: the matrix limit (a large product, in each precision) and the memory limit (a copy). Then, in the same
run: text tower tokens/s and MFU by batch size, precision and torch.compile (random weights of MiniLM's shape, left out
without transformers); sequence model steps/s, tokens/s and MFU by precision and compile, with the full softmax and the
sampled one. ``--small`` takes shapes that a CPU gets through in seconds, as the tests do.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from training.interest.fit_encoder import Log
from training.interest.flops import matmul_limit, step_flops, synchronise
from training.interest.sequences import next_baskets, training_sequences
from training.interest.softmax import Softmax
from training.interest.train_encoder import LoopConfig
from zhiyin.recommender.encoder.interest_encoder import EncoderConfig, InterestEncoder, Noise

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Shapes:
    """How much of everything."""

    items: int = 20_000
    users: int = 512
    events: int = 256
    rows: tuple[int, ...] = (32, 128, 512)
    text_layers: int = 6
    text_rows: tuple[int, ...] = (64, 512, 4096)
    text_tokens: int = 32
    matmul_side: int = 8192
    copied_bytes: int = 2**30
    repeats: int = 10


SMALL = Shapes(200, 4, 16, (4,), 1, (4,), 8, 128, 2**20, 1)


def seconds(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Of one call, the median of ``repeats``, after two calls that warm up."""
    times = []
    for turn in range(repeats + 2):
        synchronise(device)
        started = time.perf_counter()
        work()
        synchronise(device)
        if turn > 1:
            times.append(time.perf_counter() - started)
    return sorted(times)[len(times) // 2]


def limits(device: torch.device, shapes: Shapes) -> dict[str, Any]:
    source = torch.ones(shapes.copied_bytes // 4, device=device)
    sink = torch.empty_like(source)
    copied = 2 * shapes.copied_bytes / seconds(lambda: sink.copy_(source), device, shapes.repeats)
    products = {name: matmul_limit(device, kind, shapes.matmul_side) for name, kind in PRECISIONS.items()}
    return {"memory_bytes_a_second": copied, "matmul_flops": products}


def text_tower(device: torch.device, shapes: Shapes, peaks: dict[str, float]) -> Iterator[dict[str, Any]]:
    """Tokens a second of a BERT of MiniLM's shape, by batch, precision and compile."""
    if importlib.util.find_spec("transformers") is None:
        return
    from transformers import BertConfig, BertModel

    width, layers, tokens = 384, shapes.text_layers, shapes.text_tokens
    sizes: Any = {"hidden_size": width, "num_hidden_layers": layers, "intermediate_size": 4 * width}
    config = BertConfig(**sizes, num_attention_heads=12)
    for name, kind in PRECISIONS.items():
        plain: Any = BertModel(config, add_pooling_layer=False)
        plain.eval().to(device, kind)
        for compiled in (False, True) if device.type == "cuda" else (False,):
            model: Any = torch.compile(plain) if compiled else plain
            for rows in shapes.text_rows:
                ids = torch.randint(1, 30_000, (rows, tokens), device=device)
                with torch.inference_mode():
                    spent = seconds(partial(model, input_ids=ids), device, shapes.repeats)
                flops = 2.0 * layers * rows * (12 * tokens * width**2 + 2 * tokens**2 * width)
                yield {
                    "precision": name,
                    "compiled": compiled,
                    "rows": rows,
                    "tokens_a_second": round(rows * tokens / spent),
                    "mfu": round(flops / spent / peaks[name], 4),
                }


def sequence_model(device: torch.device, shapes: Shapes, peaks: dict[str, float]) -> Iterator[dict[str, Any]]:
    """Whole training steps a second (forward, backward, AdamW) on a log of random events."""
    random = np.random.default_rng(0)
    n = shapes.users * shapes.events
    item = np.minimum(random.zipf(1.3, n) - 1, shapes.items - 1)
    user = np.repeat(np.arange(shapes.users), shapes.events)
    log: Any = Log(
        user,
        item.astype(np.int64),
        np.arange(n) // 4,
        np.full(n, 5),
        np.sort(random.random(n)) * 1e7,
        random.normal(size=(shapes.items, 128)).astype(np.float32),
    )
    config = EncoderConfig(length=shapes.events)
    sequences = training_sequences(log, config.length).to(device)
    counts = torch.from_numpy(log.item_counts).float().to(device) + 1
    every = np.ones(shapes.items, bool)  # items have an id
    for name in PRECISIONS:
        for compiled in (False, True) if device.type == "cuda" else (False,):
            for full in (True, False):
                for rows in shapes.rows:
                    model = InterestEncoder(config, log.text, every).to(device).train()
                    read: Any = torch.compile(model) if compiled else model
                    softmax = Softmax(counts, 0 if full else min(LoopConfig().negatives, len(counts)))
                    batch = sequences.pad(torch.arange(min(rows, len(sequences)), device=device))
                    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
                    generator = torch.Generator(device).manual_seed(0)

                    def step(
                        model: InterestEncoder = model,
                        read: Any = read,
                        softmax: Softmax = softmax,
                        batch: Any = batch,
                        optimizer: Any = optimizer,
                        generator: torch.Generator = generator,
                        low: bool = name == "bfloat16",
                    ) -> None:
                        noise, sample = Noise.draw(batch, model.config.width, 0.1, generator), softmax.draw(generator)
                        with torch.autocast(device.type, torch.bfloat16, enabled=low):
                            vectors = model.learned_vectors()
                            interests = read(batch, vectors, noise).flatten(0, 1).to(vectors.dtype)
                            loss = softmax(interests, vectors, model.popularity, *next_baskets(batch), sample)
                        optimizer.zero_grad(set_to_none=True)
                        loss.backward()  # type: ignore[no-untyped-call]
                        optimizer.step()

                    spent = seconds(step, device, shapes.repeats)
                    breadth, asking = batch.size.shape[1], int((batch.size > 0).sum()) - len(batch)
                    shape = len(batch), batch.item.shape[1], breadth, asking
                    flops = step_flops(config, *shape, softmax.n_scored, *log.text.shape)
                    yield {
                        "precision": name,
                        "compiled": compiled,
                        "softmax": "full" if full else "sampled",
                        "rows": len(batch),
                        "steps_a_second": round(1 / spent, 2),
                        "tokens_a_second": round(batch.item.numel() / spent),
                        "mfu": round(flops / spent / peaks[name], 4),
                    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true")
    shapes = SMALL if parser.parse_args(arguments).small else Shapes()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    figures: dict[str, Any] = {"limits": limits(device, shapes)}
    peaks = figures["limits"]["matmul_flops"]
    for part in (text_tower, sequence_model):
        figures[part.__name__] = []
        for row in part(device, shapes, peaks):
            print(part.__name__, row, file=sys.stderr, flush=True)
            figures[part.__name__].append(row)
    name = torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or platform.machine()
    machine = {"device": name, "python": platform.python_version()}
    print(json.dumps({"benchmark": "gpu", **figures, "versions": {"torch": torch.__version__}, "machine": machine}))


if __name__ == "__main__":
    main()

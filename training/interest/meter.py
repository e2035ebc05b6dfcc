"""What a training run says while it goes on: speed, loss, and on a GPU the share of its arithmetic (MFU)."""

import math
import time
from collections.abc import Callable

import torch

from training.interest.flops import matmul_limit, step_flops
from training.interest.processes import rank, world
from zhiyin.recommender.encoder.interest_encoder import InterestEncoder
from zhiyin.recommender.encoder.sequences import PaddedSequences


class Meter:
    """Speed so far, for whoever watches: sequences and events a second, and on a GPU the share of its arithmetic."""

    def __init__(self, model: InterestEncoder, n_scored: int, precision: str, progress: Callable[..., None]) -> None:
        self._model, self._n_scored, self._progress = model, n_scored, progress
        self._device = model.popularity.device
        kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
        self._peak = matmul_limit(self._device, kind) * world() if self._device.type == "cuda" else 0.0
        self._started, self._rows, self._events, self._flops = time.perf_counter(), 0, 0, 0.0

    def opens(self, rows: int, events: int, epochs: int) -> None:
        self._progress("encoder", 0.0, f"{rows:,} sequences, {events:,} events an epoch, {epochs} epochs")

    def counts(self, batch: PaddedSequences) -> None:
        self._rows += len(batch)
        self._events += int((batch.item >= 0).sum())
        shape = self._model.text.shape
        self._flops += step_flops(self._model.config, batch, self._n_scored, shape[0], shape[1])

    def report(self, share: float, loss: float, judged: float = math.inf) -> None:
        if rank():
            return
        seconds = time.perf_counter() - self._started
        note = f"loss {loss:.3f}, {self._rows / seconds:,.0f} sequences/s, {self._events / seconds:,.0f} tokens/s"
        if self._peak:
            note += f", MFU {self._flops / seconds / self._peak:.1%}"
        if judged < math.inf:
            note += f", held out {judged:.3f}"
        self._progress("encoder", share, note)

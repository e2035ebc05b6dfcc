"""What a training run says while it goes on: speed, loss, and on a GPU the share of its arithmetic (MFU)."""

import math
import time
from collections.abc import Callable

import torch

from training.interest.flops import matmul_limit
from training.interest.processes import rank, world


class Meter:
    """Speed so far, for whoever watches: sequences and events a second, and on a GPU the share of its arithmetic."""

    def __init__(self, device: torch.device, precision: str, progress: Callable[..., None]) -> None:
        self._device, self._progress = device, progress
        kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
        self._peak = matmul_limit(self._device, kind) * world() if self._device.type == "cuda" else 0.0
        self._started, self._rows, self._events, self._flops = time.perf_counter(), 0, 0, 0.0

    def opens(self, rows: int, events: int, passes: float) -> None:
        self._progress("encoder", 0.0, f"{rows:,} sequences, {events:,} events a pass, at most {passes:.1f} passes")

    def counts(self, rows: int, events: int, flops: float) -> None:
        """What a step read and took."""
        self._rows += rows
        self._events += events
        self._flops += flops

    def report(self, share: float, loss: float, held_out_loss: float = math.inf) -> None:
        if rank():
            return
        seconds = time.perf_counter() - self._started
        note = f"loss {loss:.3f}, {self._rows / seconds:,.0f} sequences/s, {self._events / seconds:,.0f} tokens/s"
        if self._peak:
            note += f", MFU {self._flops / seconds / self._peak:.1%}"
        if held_out_loss < math.inf:
            note += f", held out {held_out_loss:.3f}"
        self._progress("encoder", share, note)

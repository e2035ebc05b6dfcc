"""How much arithmetic a step holds, and how much the device can do: what MFU is made of."""

import time

import torch

from zhiyin.recommender.encoder.interest_encoder import EncoderConfig


def step_flops(
    config: EncoderConfig, rows: int, events: int, baskets: int, asking: int, n_scored: int, n_read: int, text: int
) -> float:
    """Floating-point operations of one step's matrix products, backward counted twice the forward.

    ``rows`` are padded to ``events`` and ``baskets`` each. ``asking``: baskets that have a next one; ``n_scored``:
    items in the softmax of each; ``n_read``: items whose vectors are made, from documents of width ``text``.
    """
    width = config.width
    a_basket = 2 * width**2 + 3 * width * config.hidden  # query and output; the gated layer
    layer = rows * (baskets * a_basket + 2 * events * width**2 + 2 * baskets * events * width)
    return 6.0 * (config.layers * layer + asking * n_scored * width + n_read * text * width)


def matmul_limit(device: torch.device, precision: torch.dtype, side: int | None = None) -> float:
    """Floating-point operations a second of a large square matrix product, the best of a few."""
    side = side or (8192 if device.type == "cuda" else 1024)
    one, other = (torch.randn(side, side, device=device, dtype=precision) for _ in range(2))
    best = float("inf")
    for _ in range(5):
        synchronise(device)
        started = time.perf_counter()
        one @ other
        synchronise(device)
        best = min(best, time.perf_counter() - started)
    return 2.0 * side**3 / best


def synchronise(device: torch.device) -> None:
    """Wait for what the device was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)

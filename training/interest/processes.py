"""Several processes that train one model (``torchrun``); one process is the case without a group."""

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def sum_gradients(parameters: Iterable[Tensor], *sums: Tensor) -> None:
    """Add up every process's gradients, and the scalars ``sums`` with them, in one message.

    A sum over ranks is the same everywhere, so the processes stay in step.
    """
    if world() == 1:
        return
    parts = [part.grad if part.grad is not None else torch.zeros_like(part) for part in parameters]
    flat = torch.cat([part.flatten() for part in (*parts, *sums)])
    dist.all_reduce(flat)
    pieces = flat.split([part.numel() for part in (*parts, *sums)])  # type: ignore[no-untyped-call]
    for part, piece in zip((*parts, *sums), pieces, strict=True):
        part.copy_(piece.view_as(part))
    for parameter, part in zip(parameters, parts, strict=False):
        parameter.grad = part

"""A training run on disk: what it takes to go on after a kill and end with the same weights."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from zhiyin.store import atomic_file


@dataclass
class Position:
    """Where a run is: the next batch is ``batch`` of ``epoch``."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss: float = 0.0  # running
    best: float = float("inf")  # validation loss
    waited: int = 0  # passes since
    best_step: int = 0  # steps that it had taken
    decay_from: int = 0  # the step from which the learning rate falls
    last: int = 0  # steps in all


def fingerprint(*parts: Any) -> str:
    """SHA-256 of arrays and JSON values: a checkpoint serves only the run that it was made by."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(np.ascontiguousarray(part).data)
        else:
            digest.update(json.dumps(part, sort_keys=True, default=str).encode())
    return digest.hexdigest()


def save_checkpoint(
    path: Path,
    made_by: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    random: torch.Generator,
    best: dict[str, Tensor],
    position: Position,
) -> None:
    """Write all of it atomically, as one safetensors file."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in best.items()}
    tensors |= {f"adam.{place}.{name}": value for place, name, value in _moments(optimizer)}
    tensors["random"] = random.get_state()
    facts = {"made_by": made_by, "position": json.dumps(vars(position))}
    with atomic_file(path) as temporary:
        save_file({name: value.contiguous() for name, value in tensors.items()}, temporary, facts)


def load_checkpoint(
    path: Path, made_by: str, model: nn.Module, optimizer: torch.optim.Optimizer, random: torch.Generator
) -> tuple[Position, dict[str, Tensor]] | None:
    """Set all three to where the run was, and return its place and best weights; None without one made by this run."""
    if not path.is_file():
        return None
    with safe_open(path, "pt") as file:
        facts = file.metadata()
        if facts["made_by"] != made_by:
            return None
        tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    model.load_state_dict(_under("model.", tensors))
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in _under("adam.", tensors).items():
        place, moment = name.split(".", 1)
        state.setdefault(int(place), {})[moment] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    random.set_state(tensors["random"])
    return Position(**json.loads(facts["position"])), _under("best.", tensors)


def _moments(optimizer: torch.optim.Optimizer) -> Iterable[tuple[int, str, Tensor]]:
    for place, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            yield place, name, value


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

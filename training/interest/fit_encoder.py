"""Fit an interest encoder on a machine that has torch, numpy and safetensors alone, on one GPU or several.

    python -m training.interest.fit_encoder LOG.safetensors FOLDER
    torchrun --nproc-per-node 2 -m training.interest.fit_encoder LOG.safetensors FOLDER

``write_log`` makes the file, on the machine that has the marts. FOLDER gets the encoder, and a checkpoint from which
the same command goes on after a kill.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from safetensors.numpy import load_file

from training.interest.processes import rank
from training.interest.train_encoder import LoopConfig, train_encoder
from zhiyin.recommender.encoder.interest_encoder import EncoderConfig
from zhiyin.store import write_arrays

if TYPE_CHECKING:
    from zhiyin.recommender.state.catalogue import Floats, Integers
    from zhiyin.recommender.state.history import History

COLUMNS = ("user", "item", "basket", "type", "at")


@dataclass(frozen=True)
class Log:
    """What the loop reads of a ``History`` and of its ``Context``."""

    user: Integers
    item: Integers
    basket: Integers
    type: Integers
    at: npt.NDArray[np.float64]
    text: Floats
    seed: int = 0
    threads: int = 1

    def __len__(self) -> int:
        return len(self.user)

    @property
    def n_users(self) -> int:
        return int(self.user.max(initial=-1)) + 1

    @property
    def cut(self) -> float:
        return float(self.at.max(initial=0.0))

    @cached_property
    def item_counts(self) -> Integers:
        return np.bincount(self.item, minlength=len(self.text))

    def progress(self, step: str, done: float, note: str) -> None:
        print(f"\r{step} {done:4.0%} {note}", end="" if done < 1 else "\n", file=sys.stderr, flush=True)

    def record(self, name: str, step: int, value: float) -> None:
        """On a bare machine nobody keeps the curves."""


def write_log(path: Path, history: History, text: Floats, **others: Integers) -> None:
    """``text``: float32 [items, d], standardised document vectors; ``others``: further columns."""
    write_arrays(path, {name: getattr(history, name) for name in COLUMNS} | {"text": text} | others)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="of each process, on a CPU")
    parser.add_argument("--encoder", type=json.loads, default={}, help="JSON of EncoderConfig, where not the default")
    parser.add_argument("--loop", type=json.loads, default={}, help="JSON of LoopConfig, where not the default")
    arguments = parser.parse_args()
    if not arguments.log.is_file():
        parser.error(f"no file {arguments.log}; training.interest.fit_encoder.write_log makes one")
    if "RANK" in os.environ:  # set by torchrun
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    log: Any = Log(**load_file(arguments.log), seed=arguments.seed, threads=arguments.threads)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    checkpoint = arguments.folder / "checkpoint.safetensors"
    config, loop = EncoderConfig(**arguments.encoder), LoopConfig(**arguments.loop)
    encoder = train_encoder(log, log, config, loop, checkpoint=checkpoint)
    if rank() == 0:
        encoder.save(arguments.folder)
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    main()

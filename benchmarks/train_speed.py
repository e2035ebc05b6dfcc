"""Training the sequence model: sequences a second, against RecTools' SASRec in the same configuration.

    make peers
    python -m benchmarks.train_speed [--epochs 3] [--rounds 2]

MovieLens 100K, users cut into windows of 100 events; 2 layers, width 64, 2 heads, feed-forward layers of as many
parameters as the peer's (gated, hidden 43), dropout 0.3, softmax over the whole catalogue, float32, 32 sequences a step
on average. Each in a process of its own, in turns, with the same number of threads; the epoch of the least CPU seconds
counts, so that what else the machine does weighs little. Limit: three times the peer.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from benchmarks import finish, say
from benchmarks.encoder_data import movielens, text_vectors
from benchmarks.peers.environment import require_peer
from training.interest.fit_encoder import Log, write_log
from training.interest.sequences import training_sequences
from training.interest.train_encoder import LoopConfig, train_encoder
from zhiyin.recommender.encoder.interest_encoder import EncoderConfig
from zhiyin.settings import get_settings

LIMIT = 3.0
LENGTH, BATCH = 100, 32
PEER = """
import json, logging, sys, time, warnings
warnings.simplefilter("ignore"); logging.disable(logging.WARNING)
import pandas as pd, torch
from pytorch_lightning import Callback, Trainer
from rectools.dataset import Dataset
from rectools.models import SASRecModel
from safetensors.numpy import load_file
path, threads, epochs, length, batch = sys.argv[1], *map(int, sys.argv[2:])
torch.set_num_threads(threads)
log = load_file(path)
frame = pd.DataFrame({"user_id": log["window"], "item_id": log["item"], "weight": 1.0,
                      "datetime": pd.to_datetime(range(len(log["item"])), unit="s")})
marks = []
class Mark(Callback):
    def on_train_epoch_start(self, *_): self.start = time.perf_counter(), time.process_time()
    def on_train_epoch_end(self, *_):
        marks.append((time.perf_counter() - self.start[0], time.process_time() - self.start[1]))
def trainer():
    return Trainer(max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False,
                   enable_progress_bar=False, enable_model_summary=False, callbacks=[Mark()])
model = SASRecModel(n_blocks=2, n_factors=64, n_heads=2, session_max_len=length, batch_size=batch, dropout_rate=0.3,
                    loss="softmax", lr=1e-3, get_trainer_func=trainer)
model.fit(Dataset.construct(frame))
parts = dict(model.lightning_model.torch_model.named_parameters())
layers = sum(part.numel() for name, part in parts.items() if "item" not in name)
print(json.dumps({"epochs": marks, "parameters": layers}))
"""


def ours(path: str, threads: int, epochs: int) -> dict[str, Any]:
    """Seconds and CPU seconds of an epoch, on average, and how many parameters there are besides those of items."""
    columns: dict[str, Any] = load_file(path)
    n_windows = len(np.unique(columns.pop("window")))
    log: Any = Log(**columns, threads=threads)
    marks: list[tuple[float, float]] = []

    def progress(step: str, share: float, note: str) -> None:
        if share in (0.0, 1.0):  # the start, and the end of all passes
            marks.append((time.perf_counter(), time.process_time()))

    tokens = BATCH * len(log) // n_windows
    object.__setattr__(log, "progress", progress)
    config = EncoderConfig(width=64, layers=2, heads=2, hidden=43, length=LENGTH)
    loop = LoopConfig(minutes=1e6, most_passes=epochs, patience=0, tokens=tokens, dropout=0.3)
    model = train_encoder(log, log, config, loop)
    layers = sum(part.numel() for name, part in model.named_parameters() if name.startswith(("layers", "norm")))
    (wall, cpu), (wall_end, cpu_end) = marks[0], marks[-1]
    return {"epochs": [((wall_end - wall) / epochs, (cpu_end - cpu) / epochs)], "parameters": layers}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--ours", nargs=2, metavar=("LOG", "THREADS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ours:
        print(json.dumps(ours(arguments.ours[0], int(arguments.ours[1]), arguments.epochs)))
        return
    settings, peers = get_settings(), require_peer("rectools")
    task = movielens(held_out=1)
    history = task.history
    ends = np.cumsum(np.bincount(history.user))
    window = history.user * 100 + (ends[history.user] - 1 - np.arange(len(history))) // LENGTH
    with tempfile.TemporaryDirectory() as scratch:
        path = f"{scratch}/log.safetensors"
        write_log(Path(path), history, text_vectors(task, settings), window=window)
        threads, epochs = str(settings.threads), str(arguments.epochs)
        commands = {
            "peer": [peers, "-c", PEER, path, threads, epochs, str(LENGTH), str(BATCH)],
            "ours": [sys.executable, "-m", "benchmarks.train_speed", "--epochs", epochs, "--ours", path, threads],
        }
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in commands}
        for turn in range(arguments.rounds):
            for name, command in commands.items():
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                runs[name].append(json.loads(done.stdout.splitlines()[-1]))
                say(f"round {turn + 1}, {name}: {[round(wall, 2) for wall, _ in runs[name][-1]['epochs']]} s an epoch")
    n_sequences = len(training_sequences(history, LENGTH))
    wall, cpu = (
        {name: min(epoch[part] for run in turns for epoch in run["epochs"]) for name, turns in runs.items()}
        for part in (0, 1)
    )
    figures = {
        name: {
            "sequences_a_second": round(n_sequences / wall[name], 1),
            "sequences_a_cpu_second": round(n_sequences / cpu[name], 1),
            "tokens_a_second": round(len(history) / wall[name]),
            "ratio_to_peer": round(wall["peer"] / wall[name], 2),
            "cpu_ratio_to_peer": round(cpu["peer"] / cpu[name], 2),
            "parameters_besides_items": turns[0]["parameters"],
        }
        for name, turns in runs.items()
    }
    facts = {"sequences": n_sequences, "threads": settings.threads, "limit": LIMIT}
    finish("train_speed", facts | {"runs": figures})


if __name__ == "__main__":
    main()

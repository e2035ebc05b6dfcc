"""RecTools' SASRec and HSTU as models of the leaderboard, in an environment of their own: it pins numpy below 2."""

import json
import os
import subprocess
import tempfile
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.lab.experiment import Experiment, Options
from benchmarks.peers.environment import peer_python
from zhiyin.recommender.candidates.base import NOT_A_CANDIDATE
from zhiyin.recommender.state.catalogue import Floats, Integers, ItemState
from zhiyin.recommender.state.users import Users

WORKER = Path(__file__).with_name("rectools_worker.py")
# As in docs/benchmarks.md: the size of our own training-speed benchmark, epochs chosen on a validation split.
SIZE: dict[str, Any] = {
    "n_blocks": 2,
    "n_factors": 64,
    "n_heads": 2,
    "session_max_len": 100,
    "batch_size": 32,
    "dropout_rate": 0.3,
    "loss": "softmax",
    "lr": 1e-3,
}
RECTOOLS: dict[str, dict[str, Any]] = {"sasrec": {"epochs": 30}, "hstu": {"epochs": 10}}


@dataclass(frozen=True)
class Scored:
    """The peer's result: ``scores`` float32 [users, items], -inf for an item it never saw."""

    place: dict[str, int]
    scores: Floats

    def score(self, users: Users, items: ItemState) -> Floats:
        found = np.full((len(users), self.scores.shape[1]), NOT_A_CANDIDATE, np.float32)
        rows = np.array([self.place.get(name, -1) for name in users.ids])
        found[rows >= 0] = self.scores[rows[rows >= 0]]
        return found[:, items.pool]


def fit_rectools(name: str, experiment: Experiment, options: Options) -> Scored:
    """Fit on the log of a split and score its users, in their state at the end of the log.

    Items of one basket have no order, so each user's are shuffled: learning a file's order inside baskets costs much.

    Raises:
        PeersMissingError: there is no environment of the peers.
        ValueError: the peer failed; the message holds the end of what it said.
    """
    python = peer_python("rectools")
    split, context = experiment.split, experiment.context
    log = split.log
    order = np.lexsort((np.random.default_rng(context.seed).random(len(log)), log.basket, log.at, log.user))
    settings = {"model": name, "seed": context.seed, "threads": context.threads} | SIZE | RECTOOLS[name] | dict(options)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        columns = {"user": log.user[order], "item": log.item[order], "at": log.at[order]}
        pq.write_table(pa.table(columns), folder / "log.parquet")
        pq.write_table(pa.table({"user": split.user, "at": split.at}), folder / "users.parquet")
        (folder / "options.json").write_text(json.dumps(settings))
        _work(python, folder, experiment)
        scores = _read(folder / "scores.parquet", split.user, log.n_items)
    return Scored({log.user_ids[user]: place for place, user in enumerate(split.user)}, scores)


def _work(python: str, folder: Path, experiment: Experiment) -> None:
    command = [python, "-P", str(WORKER), str(folder)]  # -P: modules beside the worker stay out of its way
    said: deque[str] = deque(maxlen=15)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as worker:
        assert worker.stdout is not None
        for line in worker.stdout:
            try:
                step, done, note = json.loads(line)
            except ValueError:
                said.append(line)
            else:
                experiment.context.progress(step, done, note)
    if worker.returncode:
        raise ValueError(f"RecTools failed (exit {worker.returncode}):\n{''.join(said)}")


def _read(path: Path, user: Integers, n_items: int) -> Floats:
    scores = np.full((len(user), n_items), NOT_A_CANDIDATE, np.float32)
    for batch in pq.ParquetFile(path).iter_batches():
        users, item, score = (batch[name].to_numpy() for name in ("user", "item", "score"))
        scores[np.searchsorted(user, users), item] = score
    return scores

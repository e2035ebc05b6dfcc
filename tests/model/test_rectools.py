"""RecTools' models behind the leaderboard's interface: what is handed over, what comes back, and what if they miss."""

import json
import os

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from benchmarks.peers import rectools
from benchmarks.peers.environment import PeersMissingError, peer_python, peers_folder
from benchmarks.peers.rectools import fit_rectools
from cli.main import app
from tests.model.checkerboard import experiment_of
from training.log_states import read_users
from training.protocols import LeaveOneOut

# Stands for the worker: scores every item of the log by how often its user took it; the last user gets nothing.
WORKER = """
import json, sys
from collections import Counter
from pathlib import Path
import pyarrow as pa, pyarrow.parquet as pq
folder = Path(sys.argv[1])
options = json.loads((folder / "options.json").read_text())
if options["epochs"] == 0:
    print("no epochs, no model"); sys.exit(3)
log = pq.read_table(folder / "log.parquet").to_pylist()
users = pq.read_table(folder / "users.parquet").to_pylist()
print("a library's own words")
print(json.dumps(["epochs", 1.0, json.dumps(options)]))
counts, items = Counter((row["user"], row["item"]) for row in log), {row["item"] for row in log}
rows = [{"user": a["user"], "item": i, "score": float(counts[a["user"], i])} for a in users[:-1] for i in items]
schema = pa.schema([("user", pa.int64()), ("item", pa.int64()), ("score", pa.float32())])
pq.write_table(pa.Table.from_pylist(rows, schema), folder / "scores.parquet")
"""


@pytest.fixture
def peers(tmp_path, monkeypatch):
    """A folder that looks like the peers' environment; its Python is ours."""
    import sys

    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (tmp_path / "bin" / "python").chmod(0o755)
    (tmp_path / "lib" / "python3.11" / "site-packages" / "rectools-0.19.0.dist-info").mkdir(parents=True)
    monkeypatch.setenv("PEERS", str(tmp_path))
    worker = tmp_path / "worker.py"
    worker.write_text(WORKER)
    monkeypatch.setattr(rectools, "WORKER", worker)
    return tmp_path


@pytest.fixture
def experiment(world):
    protocol = LeaveOneOut(repeats=True)
    return experiment_of(world, protocol, protocol.split(world.history, world.catalogue))


def test_the_peer_gets_the_log_and_its_scores_stand_at_their_users_and_items(experiment, peers):
    model = fit_rectools("sasrec", experiment, {"epochs": 2, "n_factors": 8})
    split = experiment.split
    users = read_users(split.log, split.user[::-1][:3][::-1], split.at[-3:], experiment.context.catalogue)
    scores = model.score(users, experiment.items())
    for row, user in enumerate(split.user[-3:-1]):
        counts = np.bincount(split.log.item[split.log.user == user], minlength=split.log.n_items)
        seen = np.bincount(split.log.item, minlength=split.log.n_items) > 0
        np.testing.assert_array_equal(scores[row], np.where(seen, counts, -np.inf))
    assert np.isneginf(scores[-1]).all()


def test_baskets_go_over_without_an_order_and_users_with_theirs(experiment, peers, monkeypatch):
    handed = {}

    def keep(python, folder, experiment):
        handed.update(pq.read_table(folder / "log.parquet").to_pydict())
        handed["options"] = json.loads((folder / "options.json").read_text())
        raise PeersMissingError("enough")

    monkeypatch.setattr(rectools, "_work", keep)
    with pytest.raises(PeersMissingError):
        fit_rectools("hstu", experiment, {"epochs": 3})
    log = experiment.split.log
    assert handed["options"]["epochs"] == 3
    np.testing.assert_array_equal(handed["user"], log.user)
    np.testing.assert_array_equal(handed["at"], log.at)
    assert sorted(zip(handed["user"], handed["at"], handed["item"], strict=True)) == sorted(
        zip(log.user, log.at, log.item, strict=True)
    )
    # In our log the items of a basket ascend; here only about half of the neighbours do.
    same = np.diff(log.basket) == 0
    rises = np.diff(np.array(handed["item"]))[same] > 0
    assert 0.2 < rises.mean() < 0.8


def test_what_the_peer_says_when_it_fails_is_told(experiment, peers):
    with pytest.raises(ValueError, match=r"exit 3.*\n.*no epochs, no model"):
        fit_rectools("sasrec", experiment, {"epochs": 0})


def test_without_the_peers_one_line_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PEERS", str(tmp_path))
    with pytest.raises(PeersMissingError, match="make peers"):
        peer_python("rectools")
    arguments = ["benchmark", "--protocol", "leave_one_out", "--models", "sasrec", "--dataset", "movielens_100k"]
    answer = CliRunner().invoke(app, arguments, env={"ZHIYIN_HOME": str(tmp_path), "COLUMNS": "200"})
    assert isinstance(answer.exception, PeersMissingError)


INSTALLED = [*peers_folder().glob("lib/python*/site-packages/rectools-*.dist-info")]


@pytest.mark.parametrize("name", ["sasrec", "hstu"])
def test_the_real_models_find_the_own_colour(experiment, name):
    if not INSTALLED:
        assert "CI" not in os.environ, "the peers are tried for real: make peers"
        pytest.skip("`make peers` has not made RecTools' environment")
    model = fit_rectools(name, experiment, {"epochs": 40, "n_factors": 16, "session_max_len": 24, "lr": 5e-3})
    split = experiment.split
    users = read_users(split.log, split.user, split.at, experiment.context.catalogue)
    scores = model.score(users, experiment.items())
    own = np.arange(split.log.n_items) % 2 == split.user[:, None] % 2
    assert (np.where(own, scores, -np.inf).max(axis=1) > np.where(own, -np.inf, scores).max(axis=1)).mean() > 0.9

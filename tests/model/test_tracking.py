"""Every training run in the tracker: what it keeps, and that its failure is no failure of the training."""

import json
import logging
import sqlite3

import numpy as np
import pytest

from training import code
from training.ranking.fit_ranker import fit_ranker
from training.ranking.ranking_set import RankingSet
from training.tracking import track_evaluation, tracked
from zhiyin import registry
from zhiyin.clock import Clock
from zhiyin.recommender.candidates.base import silent
from zhiyin.settings import Settings
from zhiyin.store import write_manifest
from zhiyin.warehouse import Marts

CLOCK = Clock.parse("2020-03-01")
FACTS = {
    "fitted_until": "2020-02-16T00:00:00+00:00",
    "training_splits": ["2020-02-03"],
    "encoders_start_from": None,
    "versions": {"torch": "1"},
}


def train_one(settings, loss=(5.0, 4.0, 3.5), fails=False):
    """A training that makes a bundle of one file."""
    marts = Marts(settings.marts / "20200301-abc", {"digest": "d1"})
    with tracked(settings, CLOCK, marts) as run:
        for step, value in enumerate(loss):
            run.record("served/encoder loss", 10 * step, value)
        if fails:
            raise RuntimeError("out of memory")
        folder = settings.bundles / "new"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "part").write_bytes(b"x" * 100)
        digest = write_manifest(folder, **FACTS)["digest"]
        run.bundle = folder.rename(settings.bundles / digest)
    return digest


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A run that ended, one that failed, and an evaluation of the first."""
    settings = Settings(home=tmp_path_factory.mktemp("tracked"), seed=7)
    digest = train_one(settings)
    with pytest.raises(RuntimeError, match="out of memory"):
        train_one(settings, loss=(6.0,), fails=True)
    figure = {"mean": 0.25, "low": 0.2, "high": 0.3}
    slices = {"category CHIPS & DIPS": {"models": {"zhiyin": figure}}}
    report = {"models": {"zhiyin": {"ndcg@10": figure, "coverage@10": 0.5}}, "slices": slices}
    track_evaluation(settings, digest, report)
    return settings, digest


def test_a_run_keeps_parameters_curve_and_digests_and_the_bundle_knows_it(home):
    """Read by SQL: what any reader of MLflow's file finds."""
    settings, digest = home
    run_id = registry.run_of(settings, digest)
    rows = sqlite3.connect(settings.tracking)
    tags = dict(rows.execute("select key, value from tags where run_uuid = ?", [run_id]))
    assert tags["bundle"] == digest
    assert tags["marts_digest"] == "d1"
    assert len(tags["code_digest"]) == 64
    parameters = dict(rows.execute("select key, value from params where run_uuid = ?", [run_id]))
    assert parameters["seed"] == "7"
    assert parameters["fitted_until"] == FACTS["fitted_until"]
    assert parameters["version.torch"] == "1"
    query = "select key, step, value from metrics where run_uuid = ? order by step"
    points = rows.execute(query, [run_id]).fetchall()
    assert [point[1:] for point in points if point[0] == "served/encoder loss"] == [(0, 5.0), (10, 4.0), (20, 3.5)]
    last = {name: value for name, _, value in points}
    assert last["bundle_bytes"] == 100
    assert last["zhiyin/ndcg_at_10"] == 0.25
    assert last["zhiyin/coverage_at_10"] == 0.5
    assert last["slices/category CHIPS DIPS"] == 0.25


def lists_of(seed, users=60, each=20):
    """Lists in which what has the larger first feature is taken, mostly; every third user takes nothing."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(users * each, 2)).astype(np.float32)
    user = np.repeat(np.arange(users), each)
    label = ((features[:, 0] + random.normal(size=len(user)) > 2) & (user % 3 > 0)).astype(np.int8)
    return RankingSet(["good", "noise"], features, label, np.full(users, each))


def test_a_run_keeps_how_the_ranker_learned_tree_by_tree(tmp_path):
    settings = Settings(home=tmp_path, threads=1)
    training, holdout = lists_of(1), lists_of(2)
    with tracked(settings, CLOCK, Marts(settings.marts / "v", {"digest": "d1"})) as run:
        watched = fit_ranker(training, 0, 1, silent, 25, run.record, holdout, bagging_freq=0, feature_fraction=1.0)
    rows = sqlite3.connect(settings.tracking)
    curve = "select step, value from metrics where key = ? order by step"
    held_out = rows.execute(curve, ["ranker NDCG of held-out users"]).fetchall()
    assert [tree for tree, _ in held_out] == list(range(1, 26))
    learned = rows.execute(curve, ["ranker NDCG of its training set"]).fetchall()
    assert [tree for tree, _ in learned] == [10, 20, 25]
    assert learned[0][1] < learned[-1][1]

    # Held against the lists themselves: of users who took nothing no list is good or bad.
    scores = watched.booster.predict(holdout.features).reshape(-1, 20)
    gains = np.take_along_axis(holdout.label.reshape(-1, 20), np.argsort(-scores, kind="stable"), 1)[:, :10]
    relevant = holdout.label.reshape(-1, 20).sum(axis=1)
    assert (relevant == 0).sum() > 10
    discount = 1 / np.log2(np.arange(2, 12))
    best = np.array([discount[: min(count, 10)].sum() for count in relevant[relevant > 0]])
    assert held_out[-1][1] == pytest.approx(((gains @ discount)[relevant > 0] / best).mean(), abs=1e-6)

    # Nobody who watches changes what grows.
    alone = fit_ranker(training, 0, 1, silent, 25, bagging_freq=0, feature_fraction=1.0)
    np.testing.assert_array_equal(alone.booster.predict(holdout.features), watched.booster.predict(holdout.features))


def test_a_training_that_fails_is_kept_as_failed(home):
    settings, digest = home
    rows = sqlite3.connect(settings.tracking)
    states = dict(rows.execute("select run_uuid, status from runs"))
    finished = registry.run_of(settings, digest)
    assert states.pop(finished) == "FINISHED"
    ((failed, state),) = states.items()
    assert state == "FAILED"
    assert rows.execute("select value from metrics where run_uuid = ? and key like '%loss'", [failed]).fetchall() == [
        (6.0,)
    ]


def test_a_broken_tracker_is_a_warning_and_the_training_stands(tmp_path, caplog):
    settings = Settings(home=tmp_path)
    (tmp_path / "mlflow").write_text("a file where a folder should be")
    with caplog.at_level(logging.WARNING):
        digest = train_one(settings)
    assert "MLflow could not keep the run that trained" in caplog.text
    assert "not affected" in caplog.text
    assert json.loads((settings.bundles / digest / "manifest.json").read_text())["digest"] == digest
    assert registry.run_of(settings, digest) is None


def test_the_digest_of_the_code_follows_the_code(tmp_path, monkeypatch):
    monkeypatch.setattr(code, "PROJECT", tmp_path)
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "one.py").write_text("x = 1\n")
    before = code.code_digest.__wrapped__()
    (tmp_path / "training" / "one.py").write_text("x = 2\n")
    assert code.code_digest.__wrapped__() != before

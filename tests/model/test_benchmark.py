"""The leaderboard on the checkerboard: the right order of models, what it writes, and what it says to a mistake."""

import json
from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from benchmarks.lab.experiment import Experiment
from benchmarks.lab.leaderboard import evaluate_model, export_lists, export_scores, summarise
from benchmarks.lab.variant import fit_hybrid
from cli.benchmark import _overrides
from cli.main import app
from training.log_states import read_users
from training.protocols import LeaveOneOut

HYBRID = {
    "generators": {"ease": {"decay": 0.9, "quota": 6}, "item_knn": {"quota": 6}, "popularity": {"quota": 6}},
    "questions": 3,
    "refit": False,
    "ranker": {"trees": 20, "num_leaves": 4, "min_data_in_leaf": 5},
}


@pytest.fixture(scope="module")
def experiment(world):
    """Leave one out: here the last event of each user is mostly an item that it had before, so lists may hold it."""
    protocol = LeaveOneOut(repeats=True)
    split = protocol.split(world.history, world.catalogue)
    return Experiment(protocol, split, world.context, lambda at: {})


@pytest.fixture(scope="module")
def judged(experiment):
    options = {"zhiyin": HYBRID, "zhiyin_network": HYBRID | {"network": {"epochs": 20, "learning_rate": 0.01}}}
    names = ("popularity", "ease", *options)
    return {name: evaluate_model(experiment, name, options.get(name, {}), 3) for name in names}


def test_models_that_know_the_colours_beat_popularity_and_the_summary_says_by_how_much(experiment, judged):
    facts = summarise(judged, experiment)
    ndcg = {name: each["ndcg@10"]["mean"] for name, each in facts["models"].items()}
    assert min(ndcg["ease"], ndcg["zhiyin"], ndcg["zhiyin_network"]) > ndcg["popularity"] + 0.1
    assert facts["best"] == max(ndcg, key=ndcg.get)
    gap = facts["best_less_other"]["popularity"]
    assert gap["low"] <= gap["mean"] <= gap["high"]
    assert gap["mean"] == pytest.approx(ndcg[facts["best"]] - ndcg["popularity"])
    assert all(each["peak_memory_bytes"] > 0 and each["fit_seconds"] > 0 for each in facts["models"].values())
    json.dumps(facts, allow_nan=False)


def test_exported_lists_give_the_figures_again_and_carry_raw_ids(experiment, judged, tmp_path):
    split = experiment.split
    raw = {name: f"raw-{name}" for name in split.log.user_ids}
    export_lists(tmp_path / "lists.parquet", judged, experiment, raw)
    rows = pq.read_table(tmp_path / "lists.parquet").to_pylist()
    for name, each in judged.items():
        gain = []
        for place, user in enumerate(split.user):
            ids = {experiment.context.catalogue.item_ids[item] for item in split.true_item[split.true_user == place]}
            mine = [row for row in rows if row["model"] == name and row["user_id"] == f"raw-{split.log.user_ids[user]}"]
            assert [row["rank"] for row in mine] == list(range(1, len(mine) + 1))
            assert all(one["score"] >= two["score"] for one, two in pairwise(mine))
            found = sum(1 / np.log2(row["rank"] + 1) for row in mine if row["item_id"] in ids and row["rank"] <= 10)
            gain.append(found / sum(1 / np.log2(rank + 1) for rank in range(1, len(ids) + 1)))
        assert np.mean(gain) == pytest.approx(each.values["ndcg@10"].mean())
    export_scores(tmp_path / "scores.parquet", judged, experiment, raw)
    scored = pq.read_table(tmp_path / "scores.parquet").to_pylist()
    assert len({row["user_id"] for row in scored}) == 3


def test_the_whole_lists_nothing_that_no_generator_proposed(experiment):
    model = fit_hybrid(experiment, HYBRID | {"generators": {"popularity": {"quota": 2}}})
    split = experiment.split
    users = read_users(split.log, split.user, split.at, experiment.context.catalogue)
    assert (np.isfinite(model.score(users, experiment.items(split))).sum(axis=1) == 2).all()


def test_a_setting_from_the_command_line():
    assert _overrides(["ease.ridge=5", "item_knn.measure=cosine", "ease.decay=0.9"]) == {
        "ease": {"ridge": 5, "decay": 0.9},
        "item_knn": {"measure": "cosine"},
    }
    with pytest.raises(ValueError, match=r"MODEL\.KEY=VALUE"):
        _overrides(["ridge=5"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--protocol", "random"], "next_days, leave_one_out, cold_items"),
        (["--protocol", "leave_one_out", "--models", "svd"], "unknown model 'svd'"),
        (["--protocol", "leave_one_out", "--dataset", "nothing"], "unknown dataset"),
        (["--protocol", "leave_one_out", "--set", "x"], "MODEL.KEY=VALUE"),
    ],
)
def test_a_mistake_is_named(arguments, words):
    answer = CliRunner().invoke(app, ["benchmark", *arguments], env={"COLUMNS": "200"})
    assert answer.exit_code == 2
    assert words in answer.output

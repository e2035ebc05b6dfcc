"""The ablation leaves out what it says, and nothing else."""

import re

import numpy as np
import pytest

from benchmarks.ablation import FAMILIES, gather, ndcg
from benchmarks.lab.experiment import Experiment
from benchmarks.lab.scoring import scored_blocks
from benchmarks.lab.variant import earlier_splits, fit_generators, fit_hybrid
from training.evaluation.metrics import list_metrics
from training.protocols import LeaveOneOut
from zhiyin.recommender.features import propose
from zhiyin.settings import Settings

GENERATORS = {"ease": {"quota": 3}, "item_knn": {"quota": 3}, "popularity": {"quota": 4}}
RANKER = {"trees": 15, "num_leaves": 4, "min_data_in_leaf": 5}


@pytest.fixture(scope="module")
def experiment(world):
    protocol = LeaveOneOut(repeats=True)
    return Experiment(protocol, protocol.split(world.history, world.catalogue), world.context, lambda at: {})


@pytest.fixture(scope="module")
def lessons_and_asked(experiment):
    splits = earlier_splits(experiment, 2)
    teachers = fit_generators(splits[0].log, experiment, GENERATORS)
    served = fit_generators(experiment.split.log, experiment, GENERATORS)
    return gather([(teachers, split) for split in splits], experiment), gather([(served, experiment.split)], experiment)


def test_every_feature_is_of_exactly_one_family(world):
    models = fit_generators(world.history, _asking(world), GENERATORS)
    candidates = propose(models, world.users, world.catalogue, world.items)
    named = {*candidates.columns, "price_to_usual", "due_for_all", "item_mean_price_28d"}
    for name in named:
        families = [family for family, pattern in FAMILIES.items() if re.fullmatch(pattern, name)]
        assert len(families) == 1, (name, families)


def _asking(world):
    return Experiment(LeaveOneOut(), None, world.context, lambda at: {})


def test_without_a_generator_is_as_if_it_had_not_been_there(experiment, lessons_and_asked):
    _, asked = lessons_and_asked
    fewer = asked.without({"popularity_score", "popularity_rank"}.__contains__, "popularity")
    others = {name: each for name, each in GENERATORS.items() if name != "popularity"}
    plain = gather([(fit_generators(experiment.split.log, experiment, others), experiment.split)], experiment)
    assert len(plain.query) < len(asked.query)
    assert fewer.names == plain.names
    np.testing.assert_array_equal(fewer.query, plain.query)
    np.testing.assert_array_equal(fewer.item, plain.item)
    np.testing.assert_array_equal(fewer.taken, plain.taken)
    np.testing.assert_array_equal(fewer.features, plain.features)


def test_the_whole_is_that_of_the_leaderboard(experiment, lessons_and_asked):
    options = {"generators": GENERATORS, "questions": 2, "refit": False, "ranker": RANKER}
    model = fit_hybrid(experiment, options)
    expected = []
    for block in scored_blocks(experiment, model):
        lists, _ = block.lists(10)
        hits = np.take_along_axis(block.relevant, np.maximum(lists, 0), axis=1) & (lists >= 0)
        expected.append(list_metrics(hits, block.relevant.sum(axis=1))["ndcg"])
    settings = Settings(seed=experiment.context.seed, threads=experiment.context.threads)
    found = ndcg(*lessons_and_asked, experiment.split.relevant, settings, RANKER)
    np.testing.assert_allclose(found, np.concatenate(expected))

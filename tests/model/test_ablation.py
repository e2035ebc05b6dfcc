"""The ablation leaves out what it says, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.ablation import gather, ndcg, tables
from benchmarks.lab.product import product
from tests.model.checkerboard import experiment_of
from training.evaluation.leaderboard import score
from training.protocols import LeaveOneOut
from training.train import fit_generators
from zhiyin.recommender.recipe import Recipe
from zhiyin.recommender.slate.rules import SlateRules

RECIPE = Recipe(
    protocol="leave_one_out",
    least=0,
    windows=2,
    refit=False,
    negatives=1.0,
    generators={"item_to_item": {"quota": 3}, "item_knn": {"quota": 3}, "popularity": {"quota": 4}},
    ranker={"trees": 15, "num_leaves": 4, "min_data_in_leaf": 5},
    slate=SlateRules(category_share=1.0),
)


@pytest.fixture(scope="module")
def experiment(world):
    protocol = LeaveOneOut(repeats=True)
    return experiment_of(world, protocol, protocol.split(world.history, world.catalogue), RECIPE)


@pytest.fixture(scope="module")
def training_and_holdout(experiment):
    return tables(experiment)


def test_without_a_generator_is_as_if_it_had_not_been_there(experiment, training_and_holdout):
    _, holdout = training_and_holdout
    fewer = holdout.without({"popularity_score", "popularity_rank"}.__contains__, "popularity")
    others = {name: each for name, each in RECIPE.generators.items() if name != "popularity"}
    recipe = RECIPE.model_copy(update={"generators": others})
    generators = list(fit_generators(recipe, experiment.split.log, experiment.context).values())
    plain = gather([(generators, experiment.split)], replace(experiment, recipe=recipe))
    assert len(plain.query) < len(holdout.query)
    assert fewer.names == plain.names
    np.testing.assert_array_equal(fewer.query, plain.query)
    np.testing.assert_array_equal(fewer.item, plain.item)
    np.testing.assert_array_equal(fewer.taken, plain.taken)
    np.testing.assert_array_equal(fewer.features, plain.features)


def test_the_whole_is_close_to_the_product(experiment, training_and_holdout):
    """The product holds a few users out of the ranker, to calibrate it; the slate of this recipe moves nothing."""
    found = ndcg(*training_and_holdout, experiment.split.relevant, experiment.context.seed, 1, RECIPE.ranker)
    recommender = product(experiment, {})
    expected = score(recommender, experiment.split, experiment.states).models["zhiyin"].values["ndcg@10"]
    assert found.mean() == pytest.approx(expected.mean(), abs=0.1)

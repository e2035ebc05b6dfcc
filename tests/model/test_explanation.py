"""The evidence of an item starts with what moved its score most, whoever the user is."""

import lightgbm as lgb
import numpy as np
import pytest

from tests.model.checkerboard import NOW, World
from zhiyin.language.words import Wording
from zhiyin.recommender.candidates import ItemToItem, PersonalFrequency, Popularity
from zhiyin.recommender.explanation import Weights, gather_evidence, say, weigh_evidence
from zhiyin.recommender.features import Candidates, Scored, propose
from zhiyin.recommender.features.registry import EVIDENCE_KINDS
from zhiyin.recommender.ranker import Ranker
from zhiyin.recommender.state.users import Users

FEATURES = ["baskets", "item_to_item_score", "category_affinity", "interest_rank", "item_promoted", "popularity_rank"]
KINDS = EVIDENCE_KINDS


class Case:
    """The checkerboard's candidates, with ranks in place of an encoder and of attributes."""

    def __init__(self, world: World, users: Users) -> None:
        self.world, self.users = world, users
        kinds = (PersonalFrequency, ItemToItem, Popularity)
        self.generators = {kind.name: kind.fit(world.history, world.context) for kind in kinds}
        scored = Scored.by([*self.generators.values()], users, world.items)
        self.candidates = propose(scored, users, world.catalogue, world.items)
        for name in ("interest_rank", "people_alike_rank"):
            self.candidates.columns[name] = np.full(len(self.candidates), 3, np.float32)
        self.all = np.arange(len(self.candidates))

    def evidence(self, weights: Weights) -> list[list[dict]]:
        parts = self.candidates, self.all, self.world.catalogue, self.world.items, self.generators
        return gather_evidence(self.users, *parts, weights)

    def weights(self, **weights: float) -> Weights:
        return {kind: np.full(len(self.all), weights.get(kind, 0.0)) for kind in KINDS}


@pytest.fixture(scope="module")
def case(world: World) -> Case:
    return Case(world, world.users)


@pytest.mark.parametrize("seed", [1, 2])
def test_facts_stand_in_the_order_of_what_their_signals_are_worth(case: Case, seed: int) -> None:
    random = np.random.default_rng(seed)
    weights = {kind: random.normal(size=len(case.all)) for kind in KINDS}
    several = 0
    for place, facts in enumerate(case.evidence(weights)):
        worth = [weights[fact["kind"]][place] for fact in facts]
        assert worth == sorted(worth, reverse=True)
        several += len(worth) > 2
    assert several > 100
    assert {fact["kind"] for facts in case.evidence(weights) for fact in facts} == set(KINDS)


def test_the_strongest_fact_is_the_first_word(case: Case) -> None:
    wording = Wording.of(["purchase"])
    words = [say(facts, wording, most=1) for facts in case.evidence(case.weights(interest=1.0))]
    assert set(words) == {"Fits your latest purchases."}


def test_somebody_without_a_history_is_told_first_what_people_alike_take_and_what_is_popular(world: World) -> None:
    cold = Case(world, Users.of([{"user_id": "nobody"}], world.catalogue, NOW.timestamp()))
    kinds = [[fact["kind"] for fact in facts] for facts in cold.evidence(cold.weights(on_promotion=1.0))]
    assert all(each[:2] == ["people_alike", "popular_now"] for each in kinds)
    assert any("on_promotion" in each for each in kinds)


@pytest.mark.parametrize(
    ("feature", "bar", "kind"),
    [("baskets", 4, "chosen_before"), ("category_affinity", 0.5, "favourite_category")],
)
def test_what_a_ranker_learned_from_weighs_most_where_it_speaks_for_the_item(
    case: Case, feature: str, bar: float, kind: str
) -> None:
    noise = np.random.default_rng(3).random((len(FEATURES), len(case.all)), np.float32)
    known = dict(zip(FEATURES, noise, strict=True)) | {feature: case.candidates.columns[feature]}
    label = (known[feature] >= bar).astype(int)
    rows = lgb.Dataset(
        np.column_stack(list(known.values())), label, group=np.bincount(case.candidates.user), feature_name=FEATURES
    )
    settings = {"objective": "lambdarank", "verbosity": -1, "min_data_in_leaf": 5, "num_threads": 1}
    ranker = Ranker(lgb.train(settings, rows, 20))
    candidates = Candidates(case.candidates.user, case.candidates.item, known)
    weights = weigh_evidence(ranker, candidates, case.all)
    for other in KINDS:
        assert (np.abs(weights[other]) < 1e-6).all() == (other != kind)
    assert (weights[kind][label > 0] > 0).all()
    first = [facts[0]["kind"] for facts, taken in zip(case.evidence(weights), label, strict=True) if taken]
    assert len(first) > 10
    assert set(first) == {kind}

    # By hand: the score less the score of a candidate of whom this is not known.
    unknown = Candidates(candidates.user, candidates.item, known | {feature: np.full(len(label), np.nan)})
    np.testing.assert_allclose(weights[kind], ranker.score(candidates) - ranker.score(unknown))
    assert {
        kind: len(worth) for kind, worth in weigh_evidence(ranker, candidates, case.all[:0]).items()
    } == dict.fromkeys(KINDS, 0)

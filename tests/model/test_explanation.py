"""The evidence of an item: what a user can check, and nothing that did not raise the score."""

import lightgbm as lgb
import numpy as np
import pytest

from tests.model.checkerboard import NOW, World
from zhiyin.language.words import Wording
from zhiyin.recommender.candidates import KINDS as GENERATORS
from zhiyin.recommender.candidates import ItemToItem, PersonalFrequency, Popularity
from zhiyin.recommender.explanation import gather_evidence, weigh_evidence
from zhiyin.recommender.explanation.facts import Weights
from zhiyin.recommender.explanation.together import LIFT, Together
from zhiyin.recommender.explanation.window import EVENTS, Window
from zhiyin.recommender.features import Candidates, Scored, propose
from zhiyin.recommender.features.registry import EVIDENCE_KINDS
from zhiyin.recommender.ranker import Ranker
from zhiyin.recommender.state.users import Users

FEATURES = ["baskets", "item_to_item_score", "category_affinity", "interest_rank", "item_promoted", "popularity_rank"]
KINDS = EVIDENCE_KINDS
WORDING = Wording.of(["purchase"])


class Case:
    """The checkerboard's candidates, with ranks in place of an encoder and of attributes."""

    def __init__(self, world: World, users: Users) -> None:
        self.world, self.users = world, users
        kinds = (PersonalFrequency, ItemToItem, Popularity)
        self.generators = {kind.name: kind.fit(world.history, world.context) for kind in kinds}
        scored = Scored.by([*self.generators.values()], users, world.items)
        self.candidates = propose(scored, users, world.catalogue, world.items)
        for name, value in (("interest_rank", 3), ("people_alike_rank", 3), ("people_alike_score", 0.4)):
            self.candidates.columns[name] = np.full(len(self.candidates), value, np.float32)
        self.all = np.arange(len(self.candidates))

    def evidence(self, weights: Weights) -> list[list[dict]]:
        parts = self.candidates, self.all, self.world.catalogue, self.world.items, self.generators
        return gather_evidence(self.users, *parts, weights, WORDING, Together.of(self.world.history))

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
        worth = [weights[fact["kind"]][place] for fact in facts if fact["kind"] != "people_alike"]
        assert worth == sorted(worth, reverse=True)
        assert all(each > 0 for each in worth)
        several += len(worth) > 2
    assert several > 30
    found = {fact["kind"] for facts in case.evidence(weights) for fact in facts}
    assert found == set(KINDS) - {"interest"}  # no encoder is here that could say what moved it


def test_what_is_new_to_a_user_is_explained_by_the_user_and_not_by_others(case: Case) -> None:
    new = case.candidates.columns["baskets"] == 0
    kinds = [[fact["kind"] for fact in facts] for facts in case.evidence(case.weights(**dict.fromkeys(KINDS, 1.0)))]
    of_new = [each for each, fresh in zip(kinds, new, strict=True) if fresh]
    assert any("same_kind" in each for each in of_new)
    assert not any("popular_now" in each for each in of_new)
    assert all(each.index("people_alike") == len(each) - 1 for each in of_new)
    assert any("popular_now" in each for each, fresh in zip(kinds, new, strict=True) if not fresh)


def test_what_goes_together_shares_baskets_more_often_than_by_chance_and_has_another_title(case: Case) -> None:
    facts = case.evidence(case.weights(similar_to_chosen=1.0))
    named = 0
    for place, each in enumerate(facts):
        (item,) = case.candidates.item[[place]]
        for fact in each:
            other = case.world.catalogue.item_ids.index(fact["item_id"])
            assert other % 2 == item % 2
            assert other != item
            assert fact["lift"] >= LIFT
            both = [set(basket) >= {item, other} for basket in _baskets(case.world)]
            assert fact["together"] == sum(both) >= 10
            named += 1
    assert named > 20


def _baskets(world: World) -> list[set[int]]:
    history = world.history
    return [set(history.item[history.basket == basket].tolist()) for basket in np.unique(history.basket)]


def test_a_window_holds_whole_moments(world: World) -> None:
    window = Window.of_users(world.users)
    sequence = world.users.sequence
    for user in range(len(world.users)):
        mine = np.flatnonzero(sequence.user == user)
        assert window.of[user] == min(len(mine), EVENTS)  # two items at a time: no moment is cut
    few = Users.of(
        [{**world.user_rows[0], "sequence_at": [1] * len(world.user_rows[0]["sequence_at"])}], world.catalogue, 0.0
    )
    assert Window.of_users(few).of.tolist() == [len(few.sequence.item)]


def test_a_rhythm_needs_three_even_gaps_and_is_not_long_past(case: Case) -> None:
    column = case.candidates.columns
    known = {name: column[name].copy() for name in column}
    for name, value in (
        ("item_recent_baskets", 5), ("item_recent_gap_days", 6), ("item_recent_gap_spread", 1), ("days_since_last", 7),
    ):  # fmt: skip
        column[name] = np.full(len(case.all), value, np.float32)

    def rhythms() -> set[int | None]:
        facts = (fact for each in case.evidence(case.weights(chosen_before=1.0)) for fact in each)
        return {fact["usual_gap_days"] for fact in facts}

    try:
        assert rhythms() == {6}
        for name, value in (("item_recent_baskets", 3), ("item_recent_gap_spread", 4), ("days_since_last", 13)):
            kept = column[name]
            column[name] = np.full(len(case.all), value, np.float32)
            assert rhythms() == {None}
            column[name] = kept
    finally:
        column |= known


def test_the_encoder_names_the_own_items_that_moved_it(world: World) -> None:
    encoder = GENERATORS["interest"].fit(world.history, world.context)
    usual = encoder.usual_rank(world.items)
    assert sorted(usual.tolist()) == list(range(1, 13))
    window, users = Window.of_users(world.users), np.arange(24)
    item = users % 2 + 4
    named = encoder.moved_by(world.users, users, item, window.position, world.catalogue)
    assert sum(map(bool, named)) > 12
    case = Case(world, Users.of([*world.user_rows, {"user_id": "nobody"}], world.catalogue, NOW.timestamp()))
    case.generators["interest"] = encoder
    facts = case.evidence(case.weights(interest=1.0))
    told = {fact["kind"] for place, each in enumerate(facts) for fact in each if case.candidates.user[place] < 24}
    assert "interest" in told
    cold = {fact["kind"] for place, each in enumerate(facts) for fact in each if case.candidates.user[place] == 24}
    assert cold == {"people_alike", "popular_now"}
    for user, target, items in zip(users, item, named, strict=True):
        mine = world.users.sequence.item[world.users.sequence.user == user]
        assert set(items) <= set(mine.tolist()) - {int(target)}


def test_somebody_without_a_history_is_told_first_what_people_alike_take_and_what_is_popular(world: World) -> None:
    cold = Case(world, Users.of([{"user_id": "nobody"}], world.catalogue, NOW.timestamp()))
    kinds = [[fact["kind"] for fact in facts] for facts in cold.evidence(cold.weights(on_promotion=1.0))]
    assert all(each == ["people_alike", "popular_now"] for each in kinds)


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

"""The one recommender, on a real slice: the same lists for one and for many, true reasons, and no look ahead."""

import shutil
from collections import Counter
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.conftest import AS_OF
from training.evaluation import evaluate
from training.train import train
from zhiyin import registry
from zhiyin.clock import Clock
from zhiyin.language.words import read_words
from zhiyin.recommender.features.registry import OTHER, describe_feature, group_by_evidence
from zhiyin.recommender.recipe import run_clock
from zhiyin.recommender.recommender import Recommender
from zhiyin.recommender.slate.rules import SlateRules
from zhiyin.settings import Settings
from zhiyin.store import read_json
from zhiyin.warehouse import Marts, current

CLOCK = run_clock(Settings(), AS_OF)


@pytest.fixture(scope="module")
def bundle(slice_home):
    return slice_home.settings.bundles / registry.champion(slice_home.settings)["judged"]


@pytest.fixture(scope="module")
def recommender(bundle):
    return Recommender.load(bundle)


@pytest.fixture(scope="module")
def users(slice_home):
    states = pq.read_table(slice_home.settings.states / AS_OF / "users.parquet")
    return states.filter(pc.equal(states["feature_at"], pa.scalar(CLOCK.as_of, states["feature_at"].type)))


@pytest.mark.parametrize(
    ("rules", "among"), [(SlateRules(), None), (SlateRules(diversity=0.3, brand_share=0.5, cooldown=0.3), 40)]
)
def test_one_user_alone_gets_the_list_it_gets_among_many(recommender, users, rules, among):
    recommender, users = recommender.under(rules), users.slice(0, among)
    many = recommender.recommend(users, k=10, explain="text")
    for row in range(0, users.num_rows, max(users.num_rows // 60, 3)):
        (alone,) = recommender.recommend(users.slice(row, 1).to_pylist(), k=10, explain="text")
        assert alone == many[row]


def test_a_list_has_k_different_items_and_no_category_fills_more_than_half(recommender, users):
    table = recommender.catalogue.table
    category = dict(zip(table["item_id"].to_pylist(), table["category"].to_pylist(), strict=True))
    for k in (5, 10):
        for slate in recommender.recommend(users.slice(0, 50), k=k):
            assert len({item.item_id for item in slate.items}) == k
            assert [item.rank for item in slate.items] == list(range(1, k + 1))
            counts = Counter(category[item.item_id] for item in slate.items)
            assert max(counts.values()) <= (k + 1) // 2


def test_somebody_unknown_gets_what_is_popular_now_and_is_told_so(recommender):
    (slate,) = recommender.recommend([{"user_id": "nobody"}], k=10, explain="text")
    assert slate.missing == ["unknown_user"]
    buyers = [fact["users_28d"] for item in slate.items for fact in item.evidence if fact["kind"] == "popular_now"]
    assert len(buyers) == 10
    assert all(item.reason for item in slate.items)
    assert sum("popular" in item.reason.lower() for item in slate.items) == 3  # a list repeats no phrase more often


def test_somebody_new_with_attributes_gets_what_people_alike_take(recommender, users):
    told = next(row for row in users.to_pylist() if row["age_band"])
    words = {name: told[name] for name in ("age_band", "income_band", "household_size")}
    (slate,) = recommender.recommend([{"user_id": "new", "feature_at": told["feature_at"], **words}], explain="text")
    (cold,) = recommender.recommend([{"user_id": "nobody"}])
    assert slate.missing == ["no_history"]
    assert [item.item_id for item in slate.items] != [item.item_id for item in cold.items]
    assert [item.evidence[0]["kind"] for item in slate.items] == ["people_alike"] * 10
    assert sum("people like you" in item.reason for item in slate.items) >= 3  # a list repeats no phrase more often


def test_reasons_say_what_the_history_holds(recommender, users):
    """Law 6: every count, date and title in the evidence is in the user's own state."""
    rows = users.to_pylist()
    slates = recommender.recommend(users, k=10, explain="text")
    checked = 0
    for row, slate in zip(rows, slates, strict=True):
        baskets = dict(zip(row["repeat_item_ids"] or [], row["repeat_baskets"] or [], strict=True))
        last = dict(zip(row["repeat_item_ids"] or [], row["repeat_last_at"] or [], strict=True))
        for item in slate.items:
            facts = {fact["kind"]: fact for fact in item.evidence}
            assert "chosen_before" not in facts or item.item_id in baskets
            if bought := facts.get("chosen_before"):
                assert bought["times"] == baskets[item.item_id]
                day = datetime.fromtimestamp(last[item.item_id], CLOCK.as_of.tzinfo).date()
                assert abs(datetime.fromisoformat(bought["last_chosen"]).date() - day) <= timedelta(days=1)
                assert not bought.get("said") or str(bought["times"]) in item.reason or bought["times"] == 1
                checked += 1
            if similar := facts.get("similar_to_chosen"):
                assert similar["item_id"] in baskets
    assert checked > 100


def test_probabilities_follow_the_scores_and_their_reliability_is_reported(slice_home, recommender, users):
    slates = recommender.recommend(users.slice(0, 50), k=20, contributions=True)
    known = [slate for slate in slates if "no_history" not in slate.missing]
    assert len(known) > 40
    for slate in known:
        in_order = sorted(slate.items, key=lambda item: item.score)
        chances = [item.probability for item in in_order]
        assert chances == sorted(chances)
        assert 0 <= chances[0] < chances[-1] <= 1
        for item in slate.items:
            assert sum(item.contributions.values()) == pytest.approx(item.score, abs=1e-9)
    report = read_json(slice_home.settings.reports / AS_OF / f"leaderboard-{recommender.version[:12]}.json")
    for measured in (report["reliability"]["candidates"], report["reliability"]["listed"]):
        assert measured["brier"] < measured["brier_of_base_rate"]
        assert sum(row["rows"] for row in measured["table"]) == measured["rows"]


def test_the_first_fact_is_mostly_what_contributed_most(recommender, users):
    """Facts stand by what the score would lose without them; exact contributions seldom name another one first."""
    agreed = []
    for slate in recommender.recommend(users.slice(0, 50), k=10, contributions=True):
        for item in slate.items if "no_history" not in slate.missing else []:
            features = group_by_evidence(item.contributions)
            names = [features[fact["kind"]] for fact in item.evidence]
            weights = [sum(item.contributions[name] for name in each) for each in names]
            agreed += [weights[0] == max(weights)] if len(weights) > 1 else []
    assert len(agreed) > 100
    assert np.mean(agreed) > 0.8


def test_every_feature_of_a_trained_ranker_is_in_the_registry(recommender):
    described = [describe_feature(name) for name in recommender.feature_names]
    assert len(described) > 50
    assert [feature.name for feature in described if feature.family == OTHER] == []
    assert len({feature.label for feature in described}) == len(described)


def test_the_bundle_carries_the_words_of_its_dataset(recommender):
    assert recommender.wording.words == read_words("complete_journey")
    assert recommender.wording.words.user == "household"


def test_without_words_the_evidence_stays(recommender, users):
    (slate,) = recommender.recommend(users.slice(0, 1), k=3)
    assert all(item.reason is None and item.evidence for item in slate.items)


@pytest.mark.parametrize(("arguments", "told"), [({"k": 0}, "k must"), ({"explain": "poem"}, "explain must")])
def test_wrong_arguments_are_named(recommender, users, arguments, told):
    with pytest.raises(ValueError, match=told):
        recommender.recommend(users.slice(0, 1), **arguments)


def test_a_changed_bundle_is_refused(bundle, tmp_path):
    copy = tmp_path / bundle.name
    shutil.copytree(bundle, copy)
    victim = max((path for path in copy.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    victim.write_bytes(victim.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match=victim.name):
        Recommender.load(copy)


# Law 4: never see the future.


def plant(marts: Marts, folder, moment):
    """The marts with every event from ``moment`` on followed by a purchase of the best-seller, in the same basket."""
    shutil.copytree(marts.folder, folder)
    path = folder / "interactions.parquet"
    table = pq.read_table(path)
    future = pc.greater_equal(table["occurred_at"], pa.scalar(moment.replace(tzinfo=None), table["occurred_at"].type))
    assert 0 < pc.sum(future).as_py() < len(table)
    best_seller = pc.mode(table["item_id"].dictionary_encode().combine_chunks().indices)[0]["mode"].as_py()
    item = table["item_id"].dictionary_encode().combine_chunks().dictionary[best_seller]
    more = table.filter(future)
    column = table.schema.get_field_index("item_id")
    more = more.set_column(column, table.schema.field(column), pa.array([item] * len(more), table["item_id"].type))
    order = [("user_id", "ascending"), ("occurred_at", "ascending"), ("event_id", "ascending")]
    pq.write_table(pa.concat_tables([table, more]).sort_by(order), path)
    return Marts(folder, {**marts.manifest, "files": {}})  # the digests are of the others


def models(bundle):
    """Digests of what was learned: every file but the items' state as of the run."""
    files = read_json(bundle / "manifest.json")["files"]
    return {name: facts["sha256"] for name, facts in files.items() if not name.startswith("item_state")}


def test_a_planted_future_changes_nothing_that_was_learned_and_a_planted_past_does(slice_home, bundle, tmp_path):
    settings, marts = slice_home.settings, current(slice_home.settings)
    states = settings.states / AS_OF
    elsewhere = type(settings)(**(settings.model_dump() | {"home": tmp_path / "home"}))
    shutil.copytree(settings.encodings, elsewhere.encodings)
    after = train(elsewhere, CLOCK, plant(marts, tmp_path / "after", CLOCK.evaluation_cut), states)
    assert models(after) == models(bundle)
    before = train(
        elsewhere, CLOCK, plant(marts, tmp_path / "before", CLOCK.evaluation_cut - timedelta(days=1)), states
    )
    assert models(before) != models(bundle)


def test_a_model_is_not_judged_on_days_it_has_seen(slice_home, bundle):
    earlier = Clock(CLOCK.as_of - timedelta(days=1))
    settings = slice_home.settings
    with pytest.raises(ValueError, match="cannot evaluate"):
        evaluate(settings, earlier, current(settings), settings.states / AS_OF, bundle)

"""Peers and generators against naive readings of their papers, on the checkerboard and on a small random log."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.lab.experiment import MODELS
from benchmarks.peers.tifu_knn import TifuKnn
from tests.model.checkerboard import N_ITEMS, NOW, left_out
from training.log_states import read_items, read_users
from zhiyin.recommender.candidates import Content, Ials, ItemKnn, ItemToItem, KindDemand
from zhiyin.recommender.candidates.base import recency
from zhiyin.recommender.state.users import Users

MATRIX_PEERS = ("item_knn", "ials", "tifu_knn", "content", "kind_demand", "item_to_item", "text_neighbours")


@pytest.fixture(scope="module")
def users(world):
    """The checkerboard's users, read off the log."""
    log = world.history
    return read_users(log, np.arange(log.n_users), np.full(log.n_users, log.cut), world.catalogue)


@pytest.fixture(scope="module")
def items(world):
    return read_items(world.history, world.history.cut, np.ones(N_ITEMS, bool), {})


@pytest.fixture(scope="module")
def owned(world):
    matrix = np.zeros((world.history.n_users, N_ITEMS))
    for user, item in zip(world.history.user, world.history.item, strict=True):
        matrix[user, item] += 1
    return matrix


@pytest.mark.parametrize("name", [*MATRIX_PEERS, "bpr", "lstm"])
def test_a_peer_finds_the_own_item_that_was_never_bought(world, users, items, name):
    small = {
        "tifu_knn": {"neighbours": 4},  # of 24 users
        "bpr": {"epochs": 60, "learning_rate": 0.05},
        "lstm": {"width": 8, "length": 24, "epochs": 120},
    }
    options = small.get(name, {})
    scores = MODELS[name].fit(world.history, world.context, **options).score(users, items)
    assert scores.dtype == np.float32
    assert not np.isnan(scores).any()
    for user in range(len(users)):
        other = np.arange(N_ITEMS) % 2 != user % 2
        assert scores[user, left_out(user)] > scores[user, other].max()


@pytest.mark.parametrize("name", MATRIX_PEERS)
def test_a_peer_scores_a_user_alone_as_among_many(world, users, items, name):
    model = MODELS[name].fit(world.history, world.context)
    log = world.history
    one = read_users(log, np.array([3]), np.array([log.cut]), world.catalogue)
    np.testing.assert_allclose(model.score(one, items)[0], model.score(users, items)[3], rtol=1e-4, atol=1e-5)


def test_promotions_are_of_the_kinds_that_the_user_goes_for(world, users, items):
    """Item 3 is promoted in half of the shops; those of odd numbers go for items of odd numbers."""
    promoted = replace(items, columns=items.columns | {"promoted": np.where(np.arange(N_ITEMS) == 3, 0.5, np.nan)})
    model = MODELS["promotions"].fit(world.history, world.context)
    habits = MODELS["kind_demand"].fit(world.history, world.context).score(users, items)
    scores = model.score(users, promoted)
    np.testing.assert_allclose(scores[1::2, 3], 0.5 * habits[1::2, 3])
    assert (scores[::2] == -np.inf).all()
    assert (np.delete(scores, 3, axis=1) == -np.inf).all()
    nobody = Users.of([{"user_id": "nobody"}], world.catalogue, NOW.timestamp())
    assert np.flatnonzero(model.score(nobody, promoted)[0] > -np.inf).tolist() == [3]
    assert (model.score(users, items) == -np.inf).all()  # nothing is known of promotions


def test_states_read_off_a_log_are_those_of_the_marts(world, users, items):
    """``world.users`` comes from plain loops over the spec of the marts' columns."""
    reference = world.users
    for name in ("baskets", "quantity", "first_days", "last_days", "short", "long", "gap_days"):
        expected, found = np.full((2, len(users), N_ITEMS), np.nan)
        expected[reference.repeats.user, reference.repeats.item] = getattr(reference.repeats, name)
        found[users.repeats.user, users.repeats.item] = getattr(users.repeats, name)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3, err_msg=name)
    for name in ("user", "item", "basket", "type", "value"):
        np.testing.assert_array_equal(getattr(users.sequence, name), getattr(reference.sequence, name))
    np.testing.assert_array_equal(users.columns["events_28d"], reference.columns["events_28d"])
    for name in ("events_7d", "events_28d", "events_90d", "users_28d"):
        np.testing.assert_array_equal(items.columns[name], world.items.columns[name], err_msg=name)


def test_ease_is_the_papers_closed_form(world, users, items, owned):
    binary = (owned > 0).astype(float)
    inverse = np.linalg.inv(binary.T @ binary + 5.0 * np.eye(N_ITEMS))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    fitted = ItemToItem.fit(world.history, world.context, ridge=5.0)
    np.testing.assert_allclose(fitted.weights.weights, weights, atol=2e-3)  # kept in half precision


def test_ials_minimises_its_weighted_square_error(world, users, items, owned):
    model = Ials.fit(world.history, world.context, factors=4, iterations=5)
    gram = model.factors.T @ model.factors + model.ridge * np.eye(4)
    scores = model.score(users, items)
    for user in (0, 5):
        extra = model.confidence * np.sqrt(users.repeats.baskets[users.repeats.user == user])
        mine = model.factors[users.repeats.item[users.repeats.user == user]]
        vector = np.linalg.solve(gram + mine.T @ (extra[:, None] * mine), mine.T @ (1 + extra))
        np.testing.assert_allclose(scores[user], model.factors @ vector, rtol=1e-3, atol=1e-4)


def test_item_knn_is_cosine_by_loops(world, users, items, owned):
    model = ItemKnn.fit(world.history, world.context, measure="cosine", neighbours=4, itself=False)
    norms = np.linalg.norm(owned, axis=0)
    similar = owned.T @ owned / norms[:, None] / norms
    np.fill_diagonal(similar, 0)
    for item in range(N_ITEMS):
        similar[item, np.argsort(-similar[item], kind="stable")[4:]] = 0
    np.testing.assert_allclose(model.similar.toarray(), similar, atol=1e-6)


def test_tifu_knn_by_loops(world, users, items):
    group, inside, between, own, k = 5, 0.9, 0.7, 0.6, 3
    vectors = np.zeros((len(users), N_ITEMS))
    for user in range(len(users)):
        mine = world.history.user == user
        baskets = list(dict.fromkeys(world.history.basket[mine].tolist()))[::-1]
        groups = [baskets[start : start + group] for start in range(0, len(baskets), group)]
        for nth, members in enumerate(groups):
            for place, basket in enumerate(members):
                held = world.history.item[mine & (world.history.basket == basket)]
                vectors[user, held] += between**nth * inside**place / len(members) / len(groups)
    distance = ((vectors[:, None] - vectors[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distance, np.inf)
    expected = np.array(
        [
            own * vectors[user] + (1 - own) * vectors[np.argsort(distance[user])[:k]].mean(axis=0)
            for user in range(len(users))
        ]
    )
    model = TifuKnn.fit(world.history, world.context, group, inside, between, k, own)
    found = np.maximum(model.score(users, items), 0)
    ties = [user for user in range(len(users)) if np.diff(np.sort(distance[user])[k - 1 : k + 1])[0] < 1e-9]
    kept = np.setdiff1d(np.arange(len(users)), ties)
    assert len(kept) > len(users) // 2
    np.testing.assert_allclose(found[kept], expected[kept], atol=1e-5)


def test_content_scores_a_cold_item_like_what_it_reads_like(world, users, items):
    log = world.history
    cold = N_ITEMS - 1  # salty
    model = Content.fit(log.where(log.item != cold), world.context)
    scores = model.score(users, items)
    assert scores[1::2, cold].mean() > scores[0::2, cold].mean() + 0.5


def test_kind_demand_shares_a_users_habit_among_what_sells_of_the_kind(world, users, items):
    scores = KindDemand.fit(world.history, world.context).score(users, items)
    sweet = np.arange(N_ITEMS) % 2 == 0
    demand = items.column("users_28d") + 0.01 * items.column("users_90d")
    habit = np.sqrt(users.repeats.long)[users.repeats.user == 0].sum()
    np.testing.assert_allclose(scores[0, sweet], habit * demand[sweet] / demand[sweet].sum(), rtol=1e-5)
    assert np.isneginf(scores[0, ~sweet]).all()


def test_recency_counts_baskets_since_the_latest_with_the_item(world, users):
    weights = recency(users, N_ITEMS, 0.5)
    for user, item, weight in list(zip(users.repeats.user, users.repeats.item, weights, strict=True))[:30]:
        mine = world.history.user == user
        baskets = list(dict.fromkeys(world.history.basket[mine].tolist()))[::-1]
        held = set(world.history.basket[mine & (world.history.item == item)].tolist())
        since = next(place for place, basket in enumerate(baskets) if basket in held)
        assert weight == pytest.approx(0.5**since)
    assert NOW.timestamp() == world.history.cut

"""Above their stated sizes the models approximate: how near they stay to what they stand in for."""

import numpy as np
import pytest
import scipy.sparse as sp

from tests.model.checkerboard import NOW, World
from zhiyin.recommender.candidates import Interest, ItemToItem, TextNeighbours
from zhiyin.recommender.candidates.base import top_items
from zhiyin.recommender.candidates.item_weights import Exact, LowRank
from zhiyin.recommender.candidates.nearest import NearestItems, recall
from zhiyin.recommender.state.users import Users


def clustered(items: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    centres = random.normal(size=(50, 16))
    vectors = centres[random.integers(50, size=items)] + 0.5 * random.normal(size=(items, 16))
    return (vectors * random.lognormal(0, 0.3, (items, 1))).astype(np.float32)  # lengths differ: popular items


def test_the_index_finds_the_largest_inner_products_and_reads_a_part(tmp_path) -> None:
    vectors = clustered(20_000)
    index = NearestItems.build(vectors, seed=3)
    tastes = vectors[np.random.default_rng(1).integers(20_000, size=(64, 4))].mean(axis=1)
    found = index.search(tastes, 100)
    assert recall(found, top_items(tastes @ vectors.T, 100)) >= 0.98
    assert index.read_share < 0.5
    np.testing.assert_array_equal(index.search(tastes[7:8], 100)[0], found[7])
    for name in ("first", "again"):
        (tmp_path / name).mkdir()
        NearestItems.build(vectors, seed=3).save(tmp_path / name)
    assert (tmp_path / "first/nearest.faiss").read_bytes() == (tmp_path / "again/nearest.faiss").read_bytes()
    np.testing.assert_array_equal(NearestItems.load(tmp_path / "first").search(tastes, 100), found)


@pytest.mark.parametrize("kind", [TextNeighbours, Interest])
def test_a_generator_past_its_limit_scores_what_its_index_finds_as_before(kind, world: World, tmp_path) -> None:
    exact = kind.fit(world.history, world.context)
    indexed = kind.fit(world.history, world.context, exact=5)
    indexed.save(tmp_path)
    loaded = kind.load(tmp_path, world.context)
    users = Users.of([*world.user_rows, {"user_id": "nobody"}], world.catalogue, NOW.timestamp())
    wanted, found = (model.score(users, world.items) for model in (exact, loaded))
    assert loaded.nearest is not None
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)  # REACH is more than there is: nothing is missed


def test_low_rank_ease_is_ease_where_the_rank_suffices_and_close_below() -> None:
    random = np.random.default_rng(0)
    tastes = random.random((400, 6)) ** 4
    owned = sp.csr_array((random.random((400, 80)) < tastes @ random.random((6, 80)) / 3).astype(np.float32))
    exact, same, close = Exact.fit(owned, 5.0), LowRank.fit(owned, 5.0, 0, rank=80), LowRank.fit(owned, 5.0, 0, rank=20)
    np.testing.assert_allclose(same.times(owned), exact.times(owned), atol=2e-2)
    wanted, found = (top_items(weights.times(owned) - 9 * owned.toarray(), 10) for weights in (exact, close))
    assert recall(found, wanted) > 3 * 10 / 80  # three times what chance finds, at a quarter of the rank
    np.testing.assert_array_equal(
        close.times(owned[[3]])[0].astype(np.float32), close.times(owned).astype(np.float32)[3]
    )


def test_past_its_memory_limit_ease_says_so_and_still_knows_the_colours(world: World, tmp_path) -> None:
    told: list[str] = []
    context = type(world.context)(
        world.catalogue, world.context.text, 1, 1, progress=lambda step, done, note: told.append(f"{step}: {note}")
    )
    model = ItemToItem.fit(world.history, context, memory_limit=1_000)
    assert len(told) == 1
    assert told[0].startswith("item_to_item: EASE on 12 items takes")
    model.save(tmp_path)
    loaded = ItemToItem.load(tmp_path, context)
    scores = loaded.score(world.users, world.items)
    np.testing.assert_array_equal(scores, model.score(world.users, world.items))
    for user in range(len(world.users)):
        own = np.arange(12) % 2 == user % 2
        assert scores[user, own].min() > scores[user, ~own].max()

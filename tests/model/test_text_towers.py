"""A text encoder learns from the log which documents belong together, sees nothing early, and can be made smaller."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from benchmarks.lab.leaderboard import make_experiment
from tests.model.checkerboard import N_ITEMS, NOW, World, interactions, items_table
from tests.model.tiny_encoder import write_tiny_encoder
from training.protocols import LeaveOneOut
from training.text.distillation import DistillationConfig, distil, prune
from training.text.pairs import Pairs
from training.text.towers import find_tower, make_tower
from training.text.tuning import TuningConfig, fine_tune
from zhiyin.clock import Clock
from zhiyin.recommender.candidates.base import silent
from zhiyin.recommender.encoder.text_encoder import TextEncoder
from zhiyin.settings import Settings
from zhiyin.warehouse import Marts

CLOCK = Clock(NOW, label_days=5)
QUICK = TuningConfig(steps=40, pairs=32, learning_rate=2e-3, lora_learning_rate=5e-3)
DOCUMENTS = [f"word{item}" for item in range(N_ITEMS)]  # which says nothing of the taste
SAME_TASTE = np.equal.outer(np.arange(N_ITEMS) % 2, np.arange(N_ITEMS) % 2) & ~np.eye(N_ITEMS, dtype=bool)
OTHER_TASTE = np.not_equal.outer(np.arange(N_ITEMS) % 2, np.arange(N_ITEMS) % 2)


@pytest.fixture
def settings(tmp_path):
    encoder = write_tiny_encoder(tmp_path / "base", DOCUMENTS)
    return Settings(home=tmp_path / "home", dataset="checkerboard", text_encoder=encoder, text_tuning="full")


def marts_of(folder, events) -> Marts:
    folder.mkdir()
    pq.write_table(interactions(events), folder / "interactions.parquet")
    items = items_table().drop_columns("document").append_column("document", pa.array(DOCUMENTS))
    pq.write_table(items, folder / "items.parquet")
    return Marts(folder, {"as_of": NOW.isoformat(), "rows": {"interactions": len(events), "items": N_ITEMS}})


def gap(encoder: TextEncoder) -> float:
    """How much nearer documents of one taste are than those of two."""
    vectors = encoder.encode(DOCUMENTS)
    cosine = vectors @ vectors.T
    return float(cosine[SAME_TASTE].mean() - cosine[OTHER_TASTE].mean())


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("baskets", [True, False])
def test_documents_that_are_bought_together_come_together(settings, method, baskets):
    world, names = World(), np.arange(N_ITEMS)
    history = world.history if baskets else replace(world.history, basket=np.arange(len(world.history)))
    encoder = TextEncoder(settings.text_encoder, precision="float32")
    before = gap(encoder)
    assert abs(before) < 0.1
    pairs = Pairs.of(history, names, N_ITEMS)
    fine_tune(encoder, DOCUMENTS, pairs, method, 0, silent, QUICK)
    assert gap(encoder) > before + 0.3
    assert not [name for name, _ in encoder.model.named_parameters() if "lora" in name]


def test_a_pair_shares_a_basket_and_whatever_shares_it_is_no_negative(world):
    document = np.arange(N_ITEMS) // 2  # two items each
    history = replace(world.history, item=np.random.default_rng(0).integers(0, N_ITEMS, len(world.history)))
    pairs = Pairs.of(history, document, N_ITEMS // 2)
    baskets = [set(document[history.item[history.basket == basket]]) for basket in np.unique(history.basket)]
    baskets = [basket for basket in baskets if len(basket) > 1]
    assert sorted(map(sorted, baskets)) == sorted(
        sorted(pairs.document[start : start + size]) for start, size in zip(pairs.start, pairs.size, strict=True)
    )
    one, other, together = pairs.draw(200, np.random.default_rng(1))
    assert all(any({a, b} <= basket for basket in baskets) for a, b in zip(one, other, strict=True))
    assert (one != other).all()
    assert not together.diagonal().any()
    copies = np.equal.outer(other, other) & ~np.eye(200, dtype=bool)
    assert together[copies].all()
    assert together[np.equal.outer(one, other)].all()
    np.testing.assert_allclose(np.bincount(other, minlength=6) / 200, pairs.chance, atol=0.12)


def test_a_tower_repeats_exactly_and_no_event_since_the_rankers_cut_teaches_it(settings, tmp_path, world):
    """Law 4: a leak is planted in what the ranker and the evaluation learn from."""
    marts = marts_of(tmp_path / "marts", world.events)
    assert find_tower(settings, CLOCK) is None
    tower = make_tower(settings, CLOCK, marts, tuning=QUICK)
    assert find_tower(settings, CLOCK) == str(tower)
    leak = [
        (user, "i000" if item != "i000" else "i001", basket, at)
        if at >= CLOCK.ranking_cut
        else (user, item, basket, at)
        for user, item, basket, at in world.events
    ]
    assert leak != world.events
    again = Settings(**(settings.model_dump() | {"home": tmp_path / "elsewhere"}))
    assert make_tower(again, CLOCK, marts_of(tmp_path / "leak", leak), tuning=QUICK).name == tower.name
    assert gap(TextEncoder(str(tower))) > 0.3


def test_a_run_reads_the_latest_tower_of_its_settings_and_none_that_has_seen_too_much(settings, tmp_path, world):
    marts = marts_of(tmp_path / "marts", world.events)
    yesterday = Clock(NOW - timedelta(days=1), label_days=5)
    earlier, later = (
        make_tower(settings, yesterday, marts, tuning=QUICK),
        make_tower(settings, CLOCK, marts, tuning=QUICK),
    )
    assert find_tower(settings, CLOCK) == str(later)
    assert find_tower(settings, yesterday) == str(earlier)
    assert find_tower(Settings(**(settings.model_dump() | {"text_tuning": "lora"})), CLOCK) is None
    named = Settings(home=settings.home, dataset="checkerboard", text_encoder=str(later))
    assert find_tower(named, CLOCK) == str(later)
    with pytest.raises(ValueError, match=f"until {CLOCK.ranking_cut:%Y-%m-%d}.*take an earlier one"):
        find_tower(named, yesterday)
    with pytest.raises(ValueError, match="ZHIYIN_TEXT_TUNING"):
        make_tower(named, CLOCK, marts, tuning=QUICK)
    # One that is only smaller has learned from no event: any run may read it.
    smaller = Settings(**(settings.model_dump() | {"text_tuning": "off", "text_layers": 1}))
    small = make_tower(smaller, CLOCK, marts)
    assert find_tower(smaller, Clock(NOW - timedelta(days=60), label_days=5)) == str(small)
    assert TextEncoder(str(small)).model.config.num_hidden_layers == 1


def test_a_benchmark_trains_the_encoder_on_its_splits_log_alone(settings, tmp_path, world):
    """Law 4: another answer is planted; training must not use it."""
    last = {row[0]: row for row in sorted(world.events, key=lambda row: (row[3], row[2], row[1]))}
    moved = [
        (user, f"i{int(item[1:]) + 1:03d}", basket, at)
        if last[user] == (user, item, basket, at) and item < "i011"
        else (user, item, basket, at)
        for user, item, basket, at in world.events
    ]
    one, other = (
        make_experiment(settings, marts_of(tmp_path / name, events), LeaveOneOut(repeats=True))
        for name, events in (("one", world.events), ("other", moved))
    )
    assert (one.split.true_item != other.split.true_item).any()
    np.testing.assert_array_equal(one.context.text, other.context.text)
    off = Settings(**(settings.model_dump() | {"text_tuning": "off"}))
    plain = make_experiment(off, marts_of(tmp_path / "plain", world.events), LeaveOneOut(repeats=True)).context.text
    assert plain.shape != one.context.text.shape or not np.allclose(plain, one.context.text, atol=0.1)


def test_a_pruned_tower_learns_the_vectors_of_the_whole(settings, tmp_path):
    whole = TextEncoder(settings.text_encoder, precision="float32")
    small = TextEncoder(settings.text_encoder, precision="float32")
    wanted = whole.encode(DOCUMENTS)
    prune(small, 1)
    pruned = float((small.encode(DOCUMENTS) * wanted).sum(axis=1).mean())
    distil(small, DOCUMENTS, wanted, 0, silent, DistillationConfig(passes=200, learning_rate=3e-3))
    distilled = float((small.encode(DOCUMENTS) * wanted).sum(axis=1).mean())
    assert pruned < 0.9 < 0.99 < distilled
    small.save(tmp_path / "small")
    read = TextEncoder(str(tmp_path / "small"), precision="float32")
    assert read.model.config.num_hidden_layers == 1
    np.testing.assert_allclose(read.encode(DOCUMENTS), small.encode(DOCUMENTS), atol=1e-6)
    assert sum(map(torch.numel, read.model.parameters())) < sum(map(torch.numel, whole.model.parameters()))
    with pytest.raises(ValueError, match="text_layers is 4, but the encoder has 3"):
        prune(whole, 4)

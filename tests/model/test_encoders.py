"""An encoder goes on from what was promoted: it keeps what was learned, sees nothing early, and repeats exactly."""

import shutil
from dataclasses import fields, replace
from datetime import timedelta

import numpy as np
import pytest
import torch

from tests.model.checkerboard import NOW, catalogue, interactions, text
from tests.promotions import promote
from training.interest.encoders import Encoders
from training.interest.sequences import training_sequences
from training.interest.train_encoder import LoopConfig, Start, train_encoder
from training.text.encode_items import TextBasis
from zhiyin import registry
from zhiyin.clock import Clock
from zhiyin.recommender.candidates import Context, Interest
from zhiyin.recommender.encoder.interest_encoder import EncoderConfig, InterestEncoder
from zhiyin.recommender.state.history import History
from zhiyin.settings import Settings

YESTERDAY, TODAY = Clock(NOW - timedelta(days=1)), Clock(NOW)
CUT = timedelta(days=9)
SHAPE = EncoderConfig()


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path, dataset="checkerboard")


def run(settings, world, clock, vectors=None, text_encoder="minilm", bundle=None, promoted=True):
    """One run's encoder, on the events before nine days before its as_of; and the run's keeper of encoders.

    The run's bundle is named by its day, unless ``bundle`` names it.
    """
    encoders = Encoders.after(settings, clock, text() if vectors is None else vectors, text_encoder)
    history = world.history.before(clock.as_of - CUT)
    encoder = encoders.fit(history, Context(world.catalogue, encoders.basis.standardise(text()), seed=1), SHAPE, {})
    bundle = bundle or f"of {clock.date}"
    encoders.save(settings, clock, text_encoder, bundle)
    if promoted:
        promote(settings, bundle, clock, encoders.origin)
    return encoder, encoders


def same(one, other):
    return all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


def test_the_next_run_goes_on_and_says_from_where_and_an_earlier_one_stays_what_it_was(settings, world):
    first, encoders = run(settings, world, YESTERDAY)
    assert encoders.origin is None
    second, encoders = run(settings, world, TODAY)
    assert encoders.origin == f"of {YESTERDAY.date}"
    # The days between hold few events: what the first learned is nearly what the second knows.
    gap = (second.ids.weight - first.ids.weight).norm() / first.ids.weight.norm()
    assert 0 < gap < 0.5
    assert same(run(settings, world, TODAY)[0], second)
    assert same(run(settings, world, YESTERDAY)[0], first)


def test_what_was_refused_or_rolled_back_teaches_nobody(settings, world):
    """Warm start follows the promoted lineage."""
    before, last = Clock(NOW - timedelta(days=3)), Clock(NOW - timedelta(days=2))
    run(settings, world, before)
    run(settings, world, last, bundle="rolled back")
    registry.rollback(settings)
    _, encoders = run(settings, world, YESTERDAY, bundle="refused", promoted=False)
    assert encoders.origin == f"of {before.date}"
    _, encoders = run(settings, world, TODAY, promoted=False)
    assert encoders.origin == f"of {before.date}"


def test_where_the_champion_s_encoders_are_gone_it_learns_from_nothing(settings, world):
    run(settings, world, YESTERDAY)
    shutil.rmtree(settings.encoders)  # as an erasure does
    assert run(settings, world, TODAY)[1].origin is None


@pytest.mark.parametrize("change", [{"warm_start": False}, {"text_encoder": "another"}])
def test_without_warm_start_or_with_another_text_encoder_it_learns_from_nothing(settings, world, change):
    run(settings, world, YESTERDAY)
    text_encoder = change.pop("text_encoder", "minilm")
    cold = Settings(**(settings.model_dump() | change))
    encoder, encoders = run(cold, world, TODAY, text_encoder=text_encoder)
    assert encoders.origin is None
    elsewhere = Settings(**(settings.model_dump() | {"home": settings.home / "elsewhere"}))
    assert same(encoder, run(elsewhere, world, TODAY)[0])


def test_an_encoder_never_starts_from_one_that_saw_later_events(settings, world):
    """Law 4: two days back, training starts neither from yesterday's encoder nor from one with a later cut."""
    run(settings, world, YESTERDAY)
    before = world.history.before(YESTERDAY.as_of - CUT - timedelta(days=1))
    encoders = Encoders.after(settings, TODAY, text(), "minilm")
    context = Context(world.catalogue, encoders.basis.standardise(text()), seed=1)
    encoders.fit(world.history, context, SHAPE, {})
    assert same(encoders.fit(before, context, SHAPE, {}), train_encoder(before, context))
    # A kill before the end would have lost nothing: both have their checkpoint, until they are kept.
    assert len([*settings.encoders.glob(".*.unfinished/*.safetensors")]) == 2
    encoders.save(settings, TODAY, "minilm", "of today")
    assert not [*settings.encoders.glob(".*.unfinished")]


def test_known_items_keep_their_vectors_and_new_ones_start_from_their_text(world):
    seen = np.array([True] * 9 + [False] * 3)
    earlier = InterestEncoder(EncoderConfig(), text(), seen)
    moved = np.array([3, 4, 5, -1, 6, 7, 8, 9, 10, 11, 12, 13])  # three new items before them, and one gone
    now = InterestEncoder(EncoderConfig(), text(14), np.ones(14, bool))
    now.adopt(earlier, torch.from_numpy(moved))
    ids = now.ids.weight.detach()
    for old, new in enumerate(moved):
        if new >= 0:
            expected = earlier.ids.weight[old] if seen[old] else torch.zeros(64)
            assert torch.equal(ids[new], expected)
    assert not ids[:3].any()
    assert torch.equal(now.project.weight, earlier.project.weight)
    assert torch.equal(now.layers[1].fading, earlier.layers[1].fading)


def test_an_encoder_of_another_shape_is_not_gone_on_from_and_the_loops_settings_are_heard(settings, world):
    run(settings, world, YESTERDAY)
    encoders = Encoders.after(settings, TODAY, text(), "minilm")
    history = world.history.before(TODAY.as_of - CUT)
    context = Context(world.catalogue, encoders.basis.standardise(text()), seed=1)
    narrow = EncoderConfig(width=32, hidden=64)
    fitted = encoders.fit(history, context, narrow, {"dropout": 0.0, "most_passes": 2})
    assert same(fitted, train_encoder(history, context, narrow, LoopConfig(dropout=0.0, most_passes=2)))


def test_a_new_item_of_the_catalogue_does_not_move_the_others(settings, world):
    run(settings, world, YESTERDAY)
    grown = catalogue(13)
    encoders = Encoders.after(settings, TODAY, text(13), "minilm")
    history = History.of(interactions(world.events), grown, NOW - CUT)
    encoder = encoders.fit(history, Context(grown, encoders.basis.standardise(text(13)), seed=1), SHAPE, {})
    kept = encoders._earlier[(YESTERDAY.as_of - CUT).strftime("%Y-%m-%d")].encoder
    cosine = torch.nn.functional.cosine_similarity(encoder.ids.weight[:12], kept.ids.weight)
    assert cosine.min() > 0.5


def test_only_windows_with_events_since_are_read_again(world):
    since = (NOW - timedelta(days=4)).timestamp()
    everything, recent = training_sequences(world.history, 6), training_sequences(world.history, 6, since)
    newest = [
        max(world.history.at[(world.history.user == user) & (world.history.item >= 0)])
        for user in range(world.history.n_users)
    ]
    assert 0 < len(recent) < len(everything)
    assert len(recent) == sum(at >= since for at in newest)


def test_the_last_interest_alone_is_that_of_the_whole_row(world):
    encoder = train_encoder(world.history, world.context).double()
    flat = training_sequences(world.history, 6)
    sequences = flat.pad(torch.arange(len(flat)))
    last = (sequences.size > 0).sum(dim=1) - 1
    with torch.inference_mode():
        every = encoder(sequences)[torch.arange(len(sequences)), last]
        torch.testing.assert_close(encoder.interests(sequences), every)


def test_a_start_needs_no_events_since(world):
    """Nothing happened: the encoder stays what it was."""
    encoder = train_encoder(world.history, world.context)
    start = Start(encoder, np.arange(12), NOW.timestamp())
    assert same(train_encoder(world.history, world.context, start=start), encoder)


def test_the_basis_is_standard_and_the_next_run_reads_the_same(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(500, 8)).astype(np.float32) * np.arange(1, 9)
    basis = TextBasis.of(vectors)
    standard = basis.standardise(vectors)
    assert np.allclose(standard.mean(axis=0), 0, atol=1e-3)
    assert np.allclose(np.cov(standard.T, bias=True), np.eye(8), atol=1e-2)
    basis.save(tmp_path / "basis.safetensors")
    assert np.array_equal(TextBasis.load(tmp_path / "basis.safetensors").standardise(vectors), standard)


def test_the_generator_hands_its_settings_to_network_and_loop(world):
    asked = []

    def fit_encoder(history, context, config, learning):
        asked.append((config, LoopConfig(**learning)))  # raises for what is no setting of the loop
        return InterestEncoder(config, context.text, history.item_counts > 0)

    context = replace(world.context, fit_encoder=fit_encoder)
    Interest.fit(world.history, context)
    Interest.fit(world.history, context, width=32, layers=1, length=64, dropout=0.2, learning_rate=2e-3, least_events=1)
    default, other = asked
    assert default == (EncoderConfig(), LoopConfig())
    assert other[0] == EncoderConfig(width=32, layers=1, hidden=64, length=64)
    assert other[1] == LoopConfig(dropout=0.2, learning_rate=2e-3, least_events=1)
    network = {"width", "layers", "length"}
    loop = {field.name for field in fields(LoopConfig)}
    assert Interest.space.keys() - network <= loop  # what is tuned can be set

"""The training loop: the losses are what they say, a kill loses nothing, and two processes learn what one does."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from training.interest.fit_encoder import write_log
from training.interest.sequences import last_baskets, next_baskets, pack, training_sequences
from training.interest.softmax import full_softmax, sampled_softmax
from training.interest.train_encoder import LoopConfig, train_encoder
from zhiyin.recommender.encoder.interest_encoder import EncoderConfig, InterestEncoder

SMALL = EncoderConfig(width=16, layers=2, heads=2, length=12)
SHORT = LoopConfig(epochs=4, least_steps=0, tokens=96, save_every=3)
BARE = "import sys; sys.modules |= dict.fromkeys(('pyarrow', 'scipy', 'pandas', 'lightgbm', 'feast', 'airflow')); "


class KilledError(Exception):
    pass


def same(one, other):
    return all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


def pairs_of(n_baskets, n_items, n_pairs):
    random = torch.Generator().manual_seed(0)
    interests = torch.randn(n_baskets, 8, generator=random, dtype=torch.float64, requires_grad=True)
    vectors = torch.randn(n_items, 8, generator=random, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(n_items, generator=random, dtype=torch.float64, requires_grad=True)
    basket = torch.randint(n_baskets - 1, (n_pairs,), generator=random)  # the last basket foresees nothing
    return (interests, vectors, bias), basket, torch.randint(n_items, (n_pairs,), generator=random)


def test_the_softmax_in_chunks_is_the_softmax(monkeypatch):
    monkeypatch.setattr("training.interest.softmax.SCORES_AT_ONCE", {"cpu": 1})  # chunks of 16 baskets
    parts, basket, target = pairs_of(41, 30, 100)
    interests, vectors, bias = parts
    plain = torch.nn.functional.cross_entropy((interests @ vectors.T + bias)[basket], target, reduction="sum")
    expected = torch.autograd.grad(plain, parts)
    ours = full_softmax(*parts, basket, target)
    torch.testing.assert_close(ours, plain)
    for one, other in zip(torch.autograd.grad(ours, parts), expected, strict=True):
        torch.testing.assert_close(one, other)
    low = torch.cat(
        [*map(torch.ravel, torch.autograd.grad(full_softmax(*parts, basket, target, torch.bfloat16), parts))]
    )
    right = torch.cat([*map(torch.ravel, expected)])
    assert (low - right).norm() < 0.01 * right.norm()


def test_with_very_many_samples_the_sampled_softmax_is_near_the_full_one():
    """The log-Q correction: without it, drawing by popularity moves the loss far off."""
    parts, basket, target = pairs_of(41, 30, 100)
    chance = torch.linspace(1, 20, 30).double()
    chance = chance / chance.sum()
    sample = torch.multinomial(chance, 50_000, True, generator=torch.Generator().manual_seed(1))
    full = full_softmax(*parts, basket, target)
    sampled = sampled_softmax(*parts, basket, target, sample, torch.log(50_000 * chance))
    torch.testing.assert_close(sampled, full, rtol=0.01, atol=0)
    flat = sampled_softmax(*parts, basket, target, sample, torch.full_like(chance, 50_000 / 30).log())
    losses = (full, sampled, flat)
    right, ours, wrong = (torch.cat([*map(torch.ravel, torch.autograd.grad(loss, parts))]) for loss in losses)
    assert (ours - right).norm() < 0.02 * right.norm() < 0.2 * (wrong - right).norm()


def test_a_run_that_was_killed_goes_on_and_ends_with_the_same_weights(world, tmp_path):
    loop = replace(SHORT, patience=9)  # the best weights so far are part of what must come back
    whole = train_encoder(world.history, world.context, SMALL, loop)
    path = tmp_path / "checkpoint.safetensors"
    for stop in (0.3, 0.6):  # in the midst of an epoch, then again, later

        def kill(step, share, note, stop=stop):
            if share > stop:
                raise KilledError

        with pytest.raises(KilledError):
            train_encoder(world.history, replace(world.context, progress=kill), SMALL, loop, checkpoint=path)
    steps = []
    watched = replace(world.context, progress=lambda step, share, note: steps.append(share))
    assert same(train_encoder(world.history, watched, SMALL, loop, checkpoint=path), whole)
    assert min(steps[1:]) > 0.5  # it did go on
    other = train_encoder(world.history, replace(world.context, seed=7), SMALL, loop, checkpoint=path)
    assert same(other, train_encoder(world.history, replace(world.context, seed=7), SMALL, loop))  # not with its state


def test_two_processes_learn_what_one_does_and_need_only_torch(world, tmp_path):
    write_log(tmp_path / "log.safetensors", world.history, world.context.text)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-c",
        BARE + "from training.interest.fit_encoder import main; main()",
        "log.safetensors",
        "out",
    ]
    loop = replace(SHORT, save_every=200, softmax="float32")
    command += ["--encoder", json.dumps(asdict(SMALL)), "--loop", json.dumps(asdict(loop))]
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    ranks = [
        subprocess.Popen(
            command,
            cwd=tmp_path,
            env=os.environ | group | {"RANK": rank, "LOCAL_RANK": rank, "PYTHONPATH": os.getcwd()},  # noqa: PTH109
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    for process in ranks:
        _, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
    two = InterestEncoder.load(tmp_path / "out", world.context.text)
    one = train_encoder(world.history, replace(world.context, seed=0), SMALL, loop)
    for name, value in one.state_dict().items():
        torch.testing.assert_close(two.state_dict()[name], value, rtol=1e-3, atol=1e-5)


def test_bfloat16_learns_about_the_same(world):
    exact = train_encoder(world.history, world.context, SMALL, SHORT)
    rough = train_encoder(world.history, world.context, SMALL, replace(SHORT, precision="bfloat16"))
    assert not same(exact, rough)
    gap = (exact.ids.weight - rough.ids.weight).norm() / exact.ids.weight.norm()
    assert gap < 0.05


def test_batches_hold_every_row_once_within_their_budget():
    lengths = np.random.default_rng(0).integers(2, 60, 500)
    batches = pack(lengths, 128, 0, 3)
    assert sorted(torch.cat(batches).tolist()) == list(range(500))
    assert all(lengths[rows].max() * len(rows) <= 128 for rows in batches)
    assert sum(lengths[rows].max() * len(rows) for rows in batches) < 1.3 * lengths.sum()  # hardly any padding
    assert [len(rows) for rows in batches] != [len(rows) for rows in pack(lengths, 128, 0, 4)]


def test_what_is_held_out_is_not_learned_from(world):
    sequences = training_sequences(world.history, 6)
    held = torch.arange(len(sequences)) % 2 == 0
    all_pairs, kept = next_baskets(sequences), next_baskets(sequences, held)
    out = last_baskets(sequences.rows(torch.nonzero(held).flatten()))
    assert 0 < len(out[0]) == len(all_pairs[0]) - len(kept[0])
    never, last = next_baskets(sequences, torch.ones_like(held)), last_baskets(sequences)
    assert len(never[0]) + len(last[0]) == len(all_pairs[0])


@pytest.mark.parametrize(("time", "places"), [("none", "none"), ("buckets", "buckets"), ("fading", "fading")])
def test_the_order_inside_a_basket_says_nothing_whatever_attention_sees(world, time, places):
    config = replace(SMALL, time=time, places=places)
    model = InterestEncoder(config, world.context.text, np.ones(12, bool)).double().eval()
    for table in [bias for layer in model.layers for bias in layer.biases] + [layer.fading for layer in model.layers]:
        torch.nn.init.normal_(table)
    sequences = training_sequences(world.history, 6)
    order = torch.tensor([1, 0, 3, 2, 5, 4])  # baskets of two
    swapped = replace(sequences, item=sequences.item[:, order])
    whole = (sequences.size == 2).all(dim=1)
    assert whole.any()
    with torch.inference_mode():
        torch.testing.assert_close(model(sequences)[whole], model(swapped)[whole])
        # Its own and earlier baskets are seen; later ones are not.
        moved = replace(sequences, item=torch.where(sequences.place == 1, (sequences.item + 2) % 12, sequences.item))
        before, after = model(sequences)[whole], model(moved)[whole]
    torch.testing.assert_close(before[:, 0], after[:, 0])
    assert (before[:, 1:] - after[:, 1:]).abs().amax(dim=2).min() > 1e-6

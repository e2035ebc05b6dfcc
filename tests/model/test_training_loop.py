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

from training.interest.budget import Work
from training.interest.fit_encoder import write_log
from training.interest.sequences import answers, last_baskets, next_baskets, pack, training_sequences
from training.interest.softmax import full_softmax, sampled_softmax
from training.interest.train_encoder import LoopConfig, repeat_share, train_encoder
from zhiyin.recommender.encoder.interest_encoder import EncoderConfig, InterestEncoder, lay_sequences

SMALL = EncoderConfig(width=16, layers=2, heads=2, length=12)
SHORT = LoopConfig(most_passes=6, patience=0, tokens=96, save_every=3)
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


def test_the_softmax_leaves_out_what_it_is_told_to():
    parts, basket, target = pairs_of(41, 30, 100)
    interests, vectors, bias = parts
    owned = torch.nonzero(torch.rand(41, 30, generator=torch.Generator().manual_seed(2)) < 0.3).T
    new = ~torch.isin(basket * 30 + target, owned[0] * 30 + owned[1])
    scores = (interests @ vectors.T + bias).index_put((owned[0], owned[1]), torch.tensor(-torch.inf).double())
    plain = torch.nn.functional.cross_entropy(scores[basket[new]], target[new], reduction="sum")
    ours = full_softmax(*parts, basket[new], target[new], owned=(owned[0], owned[1]))
    torch.testing.assert_close(ours, plain)
    expected = torch.autograd.grad(plain, parts)
    for one, other in zip(torch.autograd.grad(ours, parts), expected, strict=True):
        torch.testing.assert_close(one, other)


def skewed(n_items):
    """Chances of being drawn, a hundredfold from the least to the most."""
    chance = torch.logspace(0, 2, n_items).double()
    return chance / chance.sum()


def test_with_very_many_samples_the_sampled_softmax_is_the_full_one():
    parts, basket, target = pairs_of(41, 30, 100)
    chance = skewed(30)
    sample = torch.multinomial(chance, 200_000, True, generator=torch.Generator().manual_seed(1))
    full = full_softmax(*parts, basket, target)
    sampled = sampled_softmax(*parts, basket, target, sample, torch.log(200_000 * chance))
    torch.testing.assert_close(sampled, full, rtol=0.01, atol=0)
    right, ours = (torch.cat([*map(torch.ravel, torch.autograd.grad(loss, parts))]) for loss in (full, sampled))
    assert (ours - right).norm() < 0.02 * right.norm()


def test_the_estimate_of_the_normaliser_is_unbiased_however_few_the_samples():
    """Of a target alone and of a draw that hits it: what the exponential of each loss says, on average."""
    parts, basket, target = pairs_of(9, 12, 20)
    parts = tuple(part.detach() * 0.3 for part in parts)
    chance = skewed(12)
    random = torch.Generator().manual_seed(3)
    full, sampled = torch.zeros(20, dtype=torch.float64), torch.zeros(20, dtype=torch.float64)
    for pair in range(20):
        one = slice(pair, pair + 1)
        full[pair] = full_softmax(*parts, basket[one], target[one]).exp()
        draws = [torch.multinomial(chance, 8, True, generator=random) for _ in range(600)]
        losses = [sampled_softmax(*parts, basket[one], target[one], draw, torch.log(8 * chance)) for draw in draws]
        sampled[pair] = torch.stack(losses).exp().mean()
    assert (sampled / full - 1).abs().max() < 0.15
    assert abs(float((sampled / full).mean()) - 1) < 0.02


@pytest.mark.parametrize("draws", [None, 64, 8_192])
def test_a_rare_item_learns_from_samples_as_from_all(draws):
    """One item of 40 is drawn ten times less often than each other one, but is what comes next half of the time.

    Few draws hold it a sixth of a time: it must not stop learning there. (It learns too much: the logarithm of an
    estimate is too small on average.) Many draws are as good as all items.
    """
    chance = torch.ones(40).double()
    chance[0] = 0.1
    chance /= chance.sum()
    targets = torch.cat([torch.zeros(40, dtype=torch.long), torch.arange(40)])
    random = torch.Generator().manual_seed(0)
    bias = torch.zeros(40, dtype=torch.float64, requires_grad=True)
    nothing = torch.zeros(80, 1, dtype=torch.float64), torch.zeros(40, 1, dtype=torch.float64)
    optimizer = torch.optim.SGD([bias], lr=0.02)
    for _ in range(300):
        if draws is None:
            loss = full_softmax(*nothing, bias, torch.arange(80), targets)
        else:
            sample = torch.multinomial(chance, draws, True, generator=random)
            loss = sampled_softmax(*nothing, bias, torch.arange(80), targets, sample, torch.log(draws * chance))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    learned = float(torch.softmax(bias.detach(), 0)[0])
    assert learned > 0.45
    if draws != 64:
        assert learned == pytest.approx(0.51, abs=0.05)


def test_passes_follow_the_held_out_loss_and_the_budget_bounds_them(world):
    """It stops by itself, at the same step each time; a tiny budget stops it sooner."""

    def run(loop):
        seen, held = [], []
        record = lambda name, step, value: (held if "held" in name else seen).append(step)  # noqa: E731
        encoder = train_encoder(world.history, replace(world.context, record=record), SMALL, loop)
        return encoder, max(seen), held

    loop = replace(SHORT, most_passes=200, patience=2)
    first, steps, held = run(loop)
    again, steps_again, _ = run(loop)
    assert same(first, again)
    assert steps == steps_again
    a_pass = held[0]
    assert steps < 150 * a_pass  # the patience stopped it
    assert len(held) < 140
    _, few, never = run(replace(loop, minutes=1e-5))
    assert few < 2 * a_pass
    assert not never  # nothing could have stopped it: nothing was kept back


def test_what_a_batch_costs_grows_with_what_it_holds(world):
    sequences = training_sequences(world.history, 12)
    model = InterestEncoder(SMALL, world.context.text, np.ones(12, bool))
    work = Work(sequences, model, 12, 96, 0)
    few, many = work.of(np.arange(3)), work.of(np.arange(9))
    assert 0 < few < many
    assert work.passes(2.0) == pytest.approx(2 * work.passes(1.0))
    assert Work(sequences, model, 10_000, 96, 0).passes(1.0) < work.passes(1.0)


def test_items_without_events_cost_the_loss_nothing_and_have_vectors_from_their_text(world):
    """A catalogue of which most was never sold: the same is learned, and what was not sold lies where its text says."""
    loop = replace(SHORT, minutes=1e6)
    plain = train_encoder(world.history, world.context, SMALL, loop)
    text = np.concatenate([world.context.text, world.context.text[:5]])
    grown = replace(world.context, text=text)
    wide = replace(world.history, n_items=len(text))
    encoder = train_encoder(wide, grown, SMALL, loop)
    assert same(plain, encoder)  # nothing of the network knows how long the catalogue is
    vectors = encoder.item_vectors(torch.arange(len(text)))
    torch.testing.assert_close(vectors[12:], encoder.project(torch.from_numpy(text[12:])))
    assert (vectors[:5] - vectors[12:]).norm(dim=1).min() > 0.1  # with an id, an item is more than its text
    biases = encoder.item_biases()
    assert torch.equal(biases[12:], encoder.popularity.min().expand(5))


def test_an_item_with_few_events_is_read_but_is_no_target(world):
    counts = world.history.item_counts
    least = int(np.sort(counts)[4])
    encoder = train_encoder(world.history, world.context, SMALL, replace(SHORT, least_events=least))
    assert 0 < len(encoder.learned) == (counts >= least).sum() < 12
    vectors = encoder.learned_vectors()
    sequences = training_sequences(world.history, 12)
    batch = sequences.pad(torch.arange(len(sequences)))
    with torch.inference_mode():
        torch.testing.assert_close(encoder(batch, vectors), encoder(batch))
    none = train_encoder(world.history, world.context, SMALL, replace(SHORT, least_events=10**6))
    assert len(none.learned) == 0
    assert none.item_vectors(torch.arange(12)).shape == (12, 16)


def test_rows_take_the_memory_of_their_events_and_are_padded_as_a_batch_needs(world):
    sequences = training_sequences(world.history, 12)
    assert len(sequences.item) == int(sequences.lengths.sum()) == int(sequences.size.sum())
    order = torch.argsort(sequences.lengths)
    short, every = sequences.pad(order[:3]), sequences.pad(order)
    assert short.item.shape[1] == int(sequences.lengths[order[2]]) <= every.item.shape[1] == 12
    assert torch.equal(short.item, every.item[:3, : short.item.shape[1]])
    assert torch.equal((every.item >= 0).sum(dim=1), sequences.lengths[order])
    assert torch.equal((every.place < every.size.shape[1]), every.item >= 0)
    assert sequences.pad(order[:0]).item.shape == (0, 1)


def test_what_a_user_has_is_no_answer_where_nothing_is_taken_twice(world):
    user, first = world.history.user * 12 + world.history.item, np.zeros(len(world.history), bool)
    first[np.unique(user, return_index=True)[1]] = True
    once = world.history.where(first)
    assert repeat_share(world.history) > 0.5
    assert repeat_share(once) == 0
    sequences = training_sequences(once, 12)
    batch = sequences.pad(torch.arange(len(sequences)))
    model = InterestEncoder(SMALL, world.context.text, np.ones(12, bool))
    (basket, item), owned = answers(model, batch, next_baskets(batch), without_owned=True)
    assert not torch.isin(basket * 12 + item, owned[0] * 12 + owned[1]).any()
    assert (owned[0].diff() >= 0).all()  # ordered by basket
    row, place = 2, 1
    mine = batch.item[row][(batch.place[row] <= place)]
    assert set(owned[1][owned[0] == row * batch.size.shape[1] + place].tolist()) == set(mine.tolist())
    assert train_encoder(once, world.context, SMALL, SHORT).popularity.isfinite().all()


def test_the_moment_of_the_list_is_an_input(world):
    """A user who comes back after a day and one who comes back after a month may be told different things."""
    encoder = InterestEncoder(SMALL, world.context.text, np.ones(12, bool)).eval()
    torch.nn.init.normal_(encoder.waits.weight)
    history = world.history
    last = np.zeros(history.n_users)
    np.maximum.at(last, history.user, history.at)
    columns = history.user, history.item, history.type, history.basket, history.at, 12
    every = torch.arange(history.n_users)
    soon, late = (
        encoder.interests(lay_sequences(*columns, last + days * 86_400).pad(every)).detach() for days in (1, 30)
    )
    assert (soon - late).abs().amax(dim=1).min() > 1e-3


def test_a_run_that_was_killed_goes_on_and_ends_with_the_same_weights(world, tmp_path):
    loop = replace(SHORT, most_passes=30, patience=2)  # the best weights so far are part of what must come back
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
    batch = sequences.pad(torch.arange(len(sequences)))
    all_pairs, kept = next_baskets(batch), next_baskets(batch, held)
    out = last_baskets(sequences.pad(torch.nonzero(held).flatten()))
    assert 0 < len(out[0]) == len(all_pairs[0]) - len(kept[0])
    never, last = next_baskets(batch, torch.ones_like(held)), last_baskets(batch)
    assert len(never[0]) + len(last[0]) == len(all_pairs[0])


def test_the_order_inside_a_basket_says_nothing(world):
    model = InterestEncoder(SMALL, world.context.text, np.ones(12, bool)).double().eval()
    for table in [layer.fading for layer in model.layers] + [model.gaps.weight, model.waits.weight]:
        torch.nn.init.normal_(table)
    sequences = training_sequences(world.history, 6)
    batch = sequences.pad(torch.arange(len(sequences)))
    order = torch.tensor([1, 0, 3, 2, 5, 4])  # baskets of two
    swapped = replace(batch, item=batch.item[:, order])
    whole = (batch.size == 2).all(dim=1)
    assert whole.any()
    with torch.inference_mode():
        torch.testing.assert_close(model(batch)[whole], model(swapped)[whole])
        # Its own and earlier baskets are seen; later ones are not.
        moved = replace(batch, item=torch.where(batch.place == 1, (batch.item + 2) % 12, batch.item))
        before, after = model(batch)[whole], model(moved)[whole]
    torch.testing.assert_close(before[:, 0], after[:, 0])
    assert (before[:, 1:] - after[:, 1:]).abs().amax(dim=2).min() > 1e-6

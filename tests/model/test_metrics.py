"""Metrics against hand-worked values and a brute-force count."""

from itertools import product

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.stats import entropy
from sklearn.metrics import ndcg_score, roc_auc_score

from training.evaluation.figures import means
from training.evaluation.metrics import (
    beyond_accuracy,
    bootstrap_means,
    interval,
    list_metrics,
    miscalibration,
    user_auc,
)
from training.evaluation.slices import find_slices, score_slices


def test_hand_worked_lists():
    hits = np.array([[True, False, True, False], [False, False, False, False], [False, True, False, False]])
    figures = list_metrics(hits, np.array([2, 3, 10]))
    ideal_of_two, ideal_of_four = 1 + 1 / np.log2(3), sum(1 / np.log2(rank + 1) for rank in (1, 2, 3, 4))
    assert figures["ndcg"] == pytest.approx([(1 + 1 / 2) / ideal_of_two, 0, (1 / np.log2(3)) / ideal_of_four])
    assert figures["precision"] == pytest.approx([0.5, 0, 0.25])
    assert figures["recall"] == pytest.approx([1, 0, 0.1])
    assert figures["f1"] == pytest.approx([2 / 3, 0, 2 * 0.25 * 0.1 / 0.35])
    assert figures["hit_rate"] == pytest.approx([1, 0, 1])
    assert figures["mrr"] == pytest.approx([1, 0, 0.5])
    assert figures["map"] == pytest.approx([(1 + 2 / 3) / 2, 0, 0.5 / 4])


def test_auc_counts_pairs_and_halves_ties():
    random = np.random.default_rng(0)
    scores = random.integers(0, 4, (5, 12)).astype(np.float32)
    scores[0, :3] = -np.inf
    relevant, eligible = random.random((5, 12)) < 0.3, random.random(12) < 0.8
    relevant[:, np.flatnonzero(eligible)[0]] = True
    for row, area in enumerate(user_auc(scores, relevant, eligible)):
        right, wrong = scores[row, relevant[row] & eligible], scores[row, ~relevant[row] & eligible]
        pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in product(right, wrong)]
        assert area == pytest.approx(np.mean(pairs))


def test_auc_of_a_user_without_truth_is_unknown():
    assert np.isnan(user_auc(np.ones((1, 3), np.float32), np.zeros((1, 3), bool), np.ones(3, bool))).all()


def test_the_interval_covers_a_known_mean_about_as_often_as_it_says():
    random = np.random.default_rng(1)
    covered = 0
    for seed in range(200):
        low, high = interval(bootstrap_means(random.normal(0.3, 0.2, (80, 1)), 400, seed))
        covered += bool(low[0] <= 0.3 <= high[0])
    assert 0.88 <= covered / 200 <= 0.99


def test_random_lists_agree_with_scikit_learn_and_with_plain_python():
    random = np.random.default_rng(3)
    scores = random.permuted(np.tile(np.arange(40.0), (25, 1)), axis=1).astype(np.float32)
    relevant = random.random((25, 40)) < 0.15
    relevant[:, 0] = True
    for k in (5, 10, 20):
        lists = np.argsort(-scores, axis=1)[:, :k]
        figures = list_metrics(np.take_along_axis(relevant, lists, axis=1), relevant.sum(axis=1))
        for row, chosen in enumerate(lists):
            true = set(np.flatnonzero(relevant[row]))
            hits = [place for place, item in enumerate(chosen, 1) if item in true]
            precision, recall = len(hits) / k, len(hits) / len(true)
            assert figures["ndcg"][row] == pytest.approx(ndcg_score([relevant[row]], [scores[row]], k=k))
            assert figures["precision"][row] == pytest.approx(precision)
            assert figures["recall"][row] == pytest.approx(recall)
            assert figures["f1"][row] == pytest.approx(2 * precision * recall / max(precision + recall, 1e-9))
            assert figures["hit_rate"][row] == bool(hits)
            assert figures["mrr"][row] == pytest.approx(1 / hits[0] if hits else 0)
            average = sum(nth / place for nth, place in enumerate(hits, 1)) / min(k, len(true))
            assert figures["map"][row] == pytest.approx(average)
    areas = user_auc(scores, relevant, np.ones(40, bool))
    assert areas == pytest.approx([roc_auc_score(relevant[row], scores[row]) for row in range(25)])


def test_auc_leaves_out_what_a_user_may_not_be_shown():
    scores = np.array([[4.0, 3.0, 2.0, 1.0]], np.float32)
    eligible = np.array([[False, True, True, True]])
    assert user_auc(scores, np.array([[False, False, True, False]]), eligible) == pytest.approx([0.5])


def test_what_lists_are_like_worked_by_hand():
    buyers = np.array([7, 3, 1, 0])  # of 7 users
    text = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0], [1.0, 1.0]], np.float32)
    lists = np.array([[0, 1, 2], [0, 2, -1], [-1, -1, -1]])
    figures = beyond_accuracy(lists, buyers, 7, np.array([2.0, 8.0, 5.0]), text)
    assert figures["novelty"][:2] == pytest.approx([(0 + 1 + 2) / 3, (0 + 2) / 2])
    assert figures["diversity"][:2] == pytest.approx([1 - 1 / 3, 0])  # one pair of three is alike; the only pair is
    assert figures["popularity_lift"][:2] == pytest.approx([11 / 3 / 2, 4 / 8])
    assert all(np.isnan(values[2]) for values in figures.values())


def test_miscalibration_worked_by_hand_and_against_scipy():
    groups = sp.csr_array(np.array([[1, 0], [1, 0], [0, 1], [0, 0]]))
    lists = np.array([[0, 1], [0, 2], [2, -1], [3, 3], [-1, -1], [0, 2]])
    taste = np.array([[2, 0], [1, 1], [1, 3], [1, 1], [1, 1], [0, 0]], np.float32)
    found = miscalibration(lists, groups, taste)
    smoothed = 0.25 * np.log(0.25 / 0.0025) + 0.75 * np.log(0.75 / (0.99 + 0.0075))
    assert found[:3] == pytest.approx([0, 0, smoothed], abs=1e-6)
    assert np.isnan(found[3:]).all()  # nothing known of the list, no list, nothing known of the user
    random = np.random.default_rng(5)
    labels, taste = random.random((40, 6)) < 0.4, random.random((30, 6)).astype(np.float32)
    lists = random.integers(0, 40, (30, 10))
    for row, figure in enumerate(miscalibration(lists, sp.csr_array(labels.astype(float)), taste)):
        p = taste[row] / taste[row].sum()
        q = labels[lists[row]].sum(axis=0) / labels[lists[row]].sum()
        assert figure == pytest.approx(entropy(p, 0.99 * q + 0.01 * p), rel=1e-4)


def test_who_has_no_figure_does_not_count():
    values = np.random.default_rng(2).random(300)
    holes = np.where(np.arange(600) % 2, np.repeat(values, 2), np.nan)
    some, all_of_them = means({"x": holes})["x"], means({"x": values})["x"]
    assert some["mean"] == pytest.approx(all_of_them["mean"])
    assert [some["low"], some["high"]] == pytest.approx([all_of_them["low"], all_of_them["high"]], abs=0.01)
    assert means({"x": np.full(4, np.nan)})["x"] == {"mean": 0, "low": 0, "high": 0}


def test_a_slice_holds_its_users_or_its_items_alone(world):
    """By plain loops: who is new or heavy, which items are, and the NDCG of what is left of each list."""
    log, catalogue = world.history, world.catalogue
    day = 86_400
    log = log.where((log.item != 4) | (log.at > log.cut - 20 * day))  # item 4 came 20 days ago
    log = log.where((log.user != 7) | (log.at > log.cut - 10 * day))  # user 7 came 10 days ago
    log = log.where((log.user % 3 != 0) | (np.arange(len(log)) % 2 == 0))
    user = np.r_[np.arange(12), -1]
    random = np.random.default_rng(4)
    pairs = np.unique(random.integers(0, len(user) * log.n_items, 60))
    true_user, true_item = pairs // log.n_items, pairs % log.n_items
    lists = np.array([random.permutation(log.n_items)[:10] for _ in user])
    lists[3, 6:] = -1
    ndcg = random.random(len(user))
    slices = find_slices(log, user, np.full(len(user), log.cut), log.cut, catalogue, true_item)
    facts = score_slices(slices, {"one": (ndcg, lists)}, true_user, true_item)

    events = [int((log.user == one).sum()) for one in user]
    assert np.flatnonzero(slices.users["new users"]).tolist() == [7, 12]
    for name, inside in (("light users", np.less_equal), ("heavy users", np.greater)):
        bound = np.quantile(events, 1 / 3 if name == "light users" else 2 / 3)
        members = [place for place, count in enumerate(events) if inside(count, bound)]
        assert facts[name]["models"]["one"]["mean"] == pytest.approx(ndcg[members].mean())
        assert facts[name]["answer_share"] == pytest.approx(np.isin(true_user, members).mean())
    assert np.flatnonzero(slices.items["new items"]).tolist() == [4]
    for name in ("new items", "category sweet"):
        scores = []
        for place in range(len(user)):
            wanted = {int(item) for item in true_item[true_user == place] if slices.items[name][item]}
            gain = sum(1 / np.log2(rank + 2) for rank, item in enumerate(lists[place]) if int(item) in wanted)
            if wanted:
                scores.append(gain / sum(1 / np.log2(rank + 2) for rank in range(len(wanted))))
        assert facts[name]["users"] == len(scores)
        assert facts[name]["models"]["one"]["mean"] == pytest.approx(np.mean(scores))
    shown = lists[lists >= 0]
    assert facts["category sweet"]["models"]["one"]["list_share"] == pytest.approx((shown % 2 == 0).mean())

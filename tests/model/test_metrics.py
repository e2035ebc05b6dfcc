"""Metrics against hand-worked values and a brute-force count."""

from itertools import product

import numpy as np
import pytest
from sklearn.metrics import ndcg_score, roc_auc_score

from training.evaluation.metrics import beyond_accuracy, bootstrap_means, interval, list_metrics, user_auc


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
    for trial in range(200):
        low, high = interval(bootstrap_means(random.normal(0.3, 0.2, (80, 1)), 400, trial))
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

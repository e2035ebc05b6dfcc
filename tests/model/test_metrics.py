"""Metrics against hand-worked values and a brute-force count."""

from itertools import product

import numpy as np
import pytest

from training.evaluation.metrics import bootstrap_means, interval, list_metrics, user_auc


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

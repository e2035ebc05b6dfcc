"""What the ranker says beside the order: probabilities that come true, and contributions that sum to the score."""

from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest

from training.evaluation.listed import FOLDS, REACHED, ListedRows
from training.evaluation.reliability import reliability
from training.ranking.fit_calibration import fit_calibration
from training.ranking.ranking_set import RankingSet, held_out
from zhiyin.recommender.calibration import Calibration
from zhiyin.recommender.features import Candidates
from zhiyin.recommender.ranker import Ranker

NAMES = ["habit", "price", "noise", "user_events_28d"]
USERS, EACH = 400, 20


def training_rows(seed: int) -> tuple[RankingSet, np.ndarray]:
    """Candidates with features, whether each was taken, and the chance with which it was."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(USERS * EACH, 4)).astype(np.float32)
    features[::7, 1] = np.nan
    features[:, 3] = np.repeat(random.integers(1, 60, USERS), EACH)
    logit = 2 * features[:, 0] - np.nan_to_num(features[:, 1]) + np.log1p(features[:, 3])
    chance = 0.6 / (1 + np.exp(6 - logit))
    label = (random.random(len(chance)) < chance).astype(np.int8)
    return RankingSet(NAMES, features, label, np.full(USERS, EACH)), chance


@pytest.fixture(scope="module")
def ranker() -> Ranker:
    training, _ = training_rows(1)
    rows = lgb.Dataset(training.features, training.label, group=training.group, feature_name=NAMES)
    return Ranker(lgb.train({"objective": "lambdarank", "verbosity": -1, "num_threads": 1, "seed": 1}, rows, 40))


def test_probabilities_come_true_on_users_that_neither_the_ranker_nor_they_were_fitted_on(ranker: Ranker) -> None:
    calibration = fit_calibration(ranker, training_rows(2)[0])
    fresh, chance = training_rows(3)
    scores = ranker.booster.predict(fresh.features)
    measured = reliability(calibration(scores, fresh.features[:, 3]), fresh.label.astype(bool))
    uncalibrated = reliability(1 / (1 + np.exp(-scores)), fresh.label.astype(bool))
    assert measured["ece"] < 0.02 < 0.1 < uncalibrated["ece"]
    assert measured["brier"] < measured["brier_of_base_rate"] < uncalibrated["brier"]
    for busy in (fresh.features[:, 3] < 20, fresh.features[:, 3] > 40):  # the order within a user says nothing of this
        assert calibration(scores, fresh.features[:, 3])[busy].mean() == pytest.approx(chance[busy].mean(), rel=0.15)


def test_a_better_score_is_no_less_likely_and_a_loaded_calibration_says_the_same(
    ranker: Ranker, tmp_path: Path
) -> None:
    calibration = fit_calibration(ranker, training_rows(2)[0])
    scores = np.linspace(-20, 20, 999)
    busy = np.full(999, 20, np.float32)
    chances = calibration(scores, busy)
    assert (np.diff(chances) >= 0).all()
    assert 0 <= chances.min() < chances.max() <= 1
    assert (np.diff(calibration.score) > 0).all()
    calibration.save(tmp_path / "calibration.json")
    np.testing.assert_array_equal(Calibration.load(tmp_path / "calibration.json")(scores, busy), chances)


def test_a_twentieth_of_the_users_is_held_out_and_always_the_same() -> None:
    users = [f"user {number}" for number in range(5_000)]
    apart = held_out(users)
    assert 200 < apart.sum() < 300
    np.testing.assert_array_equal(held_out(users[::-1])[::-1], apart)


def test_reliability_of_a_case_by_hand() -> None:
    promised = np.repeat([0.1, 0.8], 50)
    came = np.r_[np.repeat([True, False], [10, 40]), np.repeat([True, False], [30, 20])]
    measured = reliability(promised, came)
    assert measured["base_rate"] == pytest.approx(0.4)
    assert measured["ece"] >= 0.15 - 1e-9  # bins are finer than the two promises; merged they are off by .1 and .2
    brier = (10 * 0.81 + 40 * 0.01 + 30 * 0.04 + 20 * 0.64) / 100
    assert measured["brier"] == pytest.approx(brier)
    assert [row["rows"] for row in measured["table"]] == [10] * 10


def test_contributions_sum_to_the_score_and_name_what_moved_it(ranker: Ranker) -> None:
    rows, _ = training_rows(4)
    columns = dict(zip(NAMES, rows.features.T, strict=True)) | {"not a feature": rows.features[:, 0]}
    candidates = Candidates(np.zeros(len(rows.label), np.int64), np.arange(len(rows.label)), columns)
    positions = np.array([5, 0, 77])
    shares = ranker.contributions(candidates, positions)
    np.testing.assert_allclose(
        [sum(share.values()) for share in shares], ranker.score(candidates)[positions], atol=1e-9
    )
    assert all(set(share) <= {*NAMES, "base"} for share in shares)
    best = int(ranker.score(candidates).argmax())
    (top,) = ranker.contributions(candidates, np.array([best]))
    assert max((share for share in top if share != "base"), key=top.get) == "habit"
    assert ranker.contributions(candidates, positions[:0]) == []


def test_listed_items_are_calibrated_on_users_that_the_calibration_did_not_see_or_not_at_all() -> None:
    random = np.random.default_rng(0)
    score, activity = random.normal(size=20_000), np.zeros(20_000, np.float32)
    chance = 1 / (1 + np.exp(-score))
    fold = np.arange(20_000) % FOLDS
    rows = ListedRows(score, activity, random.random(20_000) < chance, fold)
    calibration, error = rows.calibrated()
    assert calibration is not None
    assert error is not None
    assert error <= REACHED
    assert np.abs(calibration(score, activity) - chance).mean() < REACHED
    # Each fold is another world: what the others say does not hold in it.
    strange = ListedRows(score, activity, np.where(fold % 2, chance < 0.5, chance > 0.5), fold)
    calibration, error = strange.calibrated()
    assert calibration is None
    assert error is not None
    assert error > REACHED
    assert ListedRows(score, activity, np.zeros(20_000, bool), fold).calibrated() == (None, None)

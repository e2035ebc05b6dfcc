"""Law 7: nothing promotes itself. What the gate lets through, and what it refuses."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.evaluation import gate
from zhiyin import registry
from zhiyin.clock import Clock
from zhiyin.settings import Settings

WINDOW = ["2017-11-17T00:00:00+00:00", "2017-12-01T00:00:00+00:00"]


def judged(folder, name, ndcg, popularity=0.1, personal=0.1):
    """What `evaluate` returns, as far as the gate reads it, from every user's NDCG."""
    path = folder / f"users-{name}.parquet"
    pq.write_table(pa.table({"user_id": [f"{user:04}" for user in range(len(ndcg))], "zhiyin": ndcg}), path)
    gap = {"low": 0.0, "high": 0.0}
    differences = {
        "popularity": gap | {"mean": float(np.mean(ndcg)) - popularity},
        "personal_frequency": gap | {"mean": float(np.mean(ndcg)) - personal},
    }
    return {"bundle": name, "window": WINDOW, "users_file": str(path), "differences": differences}


@pytest.fixture
def ndcg():
    return np.random.default_rng(0).beta(2, 4, 500)


@pytest.mark.parametrize(("weaker_than", "promote"), [(None, True), ("popularity", False), ("personal", False)])
def test_a_challenger_must_beat_every_baseline(tmp_path, ndcg, weaker_than, promote):
    baselines = {weaker_than: 0.9} if weaker_than else {}
    decision = gate(judged(tmp_path, "new", ndcg, **baselines))
    assert decision.promote is promote
    assert any("does not beat" in reason for reason in decision.reasons) is not promote


@pytest.mark.parametrize(("change", "promote"), [(-0.05, False), (+0.05, True)])
def test_a_challenger_that_is_clearly_worse_than_the_champion_is_refused(tmp_path, ndcg, change, promote):
    champion, challenger = judged(tmp_path, "old", ndcg), judged(tmp_path, "new", ndcg + change)
    assert gate(challenger, champion).promote is promote


def test_noise_is_no_reason_to_refuse(tmp_path, ndcg):
    noise = np.random.default_rng(1).normal(0, 0.1, len(ndcg))
    worse_by_chance = ndcg + noise - noise.mean() - 0.001
    decision = gate(judged(tmp_path, "new", worse_by_chance), judged(tmp_path, "old", ndcg))
    assert decision.difference["mean"] < 0
    assert decision.promote


def test_two_windows_are_not_compared(tmp_path, ndcg):
    other = judged(tmp_path, "old", ndcg) | {"window": ["2017-10-01T00:00:00+00:00", WINDOW[0]]}
    with pytest.raises(ValueError, match="2017-10-01"):
        gate(judged(tmp_path, "new", ndcg), other)


def test_promotion_moves_a_pointer_and_one_call_takes_it_back(tmp_path):
    settings, clock = Settings(home=tmp_path), Clock.parse("2017-12-01")
    for digest in ("aaa", "bbb"):
        (settings.bundles / digest).mkdir(parents=True)
        (settings.bundles / digest / "manifest.json").write_text("{}")
    assert registry.champion(settings) is None
    registry.promote(settings, "aaa", clock)
    registry.promote(settings, "bbb", clock)
    assert registry.champion(settings)["digest"] == "bbb"
    registry.rollback(settings)
    assert registry.champion(settings)["digest"] == "aaa"
    with pytest.raises(ValueError, match="no earlier champion"):
        registry.rollback(settings)
    with pytest.raises(FileNotFoundError, match="ccc"):
        registry.promote(settings, "ccc", clock)
    assert registry.champion(settings)["digest"] == "aaa"

"""Law 7: nothing promotes itself. What the gate lets through, and what it refuses."""

import numpy as np
import pytest

from pipeline.reports import RunReports
from pipeline.rivals import decide, find_rivals
from tests.model.judged import judged
from training.evaluation import GateRules, gate
from training.evaluation.guardrails import check_slices
from zhiyin import registry
from zhiyin.clock import Clock
from zhiyin.registry import Decision
from zhiyin.settings import Settings
from zhiyin.store import write_json

USERS = 1_700


@pytest.fixture
def ndcg():
    return np.random.default_rng(0).beta(2, 4, USERS)


def noise(seed, users=USERS):
    """What makes two close models differ: no mean, and an interval of +-.004 for 1,700 users."""
    drawn = np.random.default_rng(seed).normal(0, 0.084, users)
    return drawn - drawn.mean()


def refused(decision):
    return {check.name for check in decision.checks if not check.passed}


@pytest.mark.parametrize(("baseline", "promote"), [(0.1, True), (0.335, False), (0.9, False)])
def test_a_challenger_must_beat_every_baseline_by_its_interval(tmp_path, ndcg, baseline, promote):
    assert ndcg.mean() > 0.335  # by the mean alone it beats the second
    decision = gate(judged(tmp_path, "new", ndcg, baseline))
    assert decision.promote is promote
    assert refused(decision) == (set() if promote else {"popularity", "personal_frequency"})
    assert any("does not beat popularity" in reason for reason in decision.refusals) is not promote


@pytest.mark.parametrize(
    ("change", "promote"), [(-0.05, False), (-0.008, False), (-0.002, True), (0.0, True), (0.05, True)]
)
def test_a_challenger_must_not_have_lost_more_than_the_margin(tmp_path, ndcg, change, promote):
    champion, challenger = judged(tmp_path, "old", ndcg), judged(tmp_path, "new", ndcg + noise(1) + change)
    decision = gate(challenger, champion)
    gap = decision.figures_of("champion")
    assert gap["mean"] == pytest.approx(change)
    assert 0.003 < gap["high"] - gap["mean"] < 0.005
    assert gap["margin"] == pytest.approx(0.02 * ndcg.mean())
    assert (gap["low"] >= -gap["margin"]) is promote
    assert decision.promote is promote
    assert refused(decision) == (set() if promote else {"champion"})


def test_the_margin_is_a_setting(tmp_path, ndcg):
    reports = judged(tmp_path, "new", ndcg + noise(1) - 0.008), judged(tmp_path, "old", ndcg)
    assert not gate(*reports).promote
    assert gate(*reports, rules=GateRules.of(Settings(gate_margin=0.05))).promote


def test_so_few_users_that_an_equal_would_be_refused_are_told_what_it_takes(tmp_path):
    ndcg = np.random.default_rng(0).beta(2, 4, 300)
    decision = gate(judged(tmp_path, "new", ndcg + noise(2, 300)), judged(tmp_path, "old", ndcg))
    assert refused(decision) == {"champion"}
    (reason,) = decision.refusals
    assert "may be worse" in reason
    margin = float(reason.split("ZHIYIN_GATE_MARGIN=")[1])
    rules = GateRules(margin=margin)
    assert gate(judged(tmp_path, "new", ndcg + noise(2, 300)), judged(tmp_path, "old", ndcg), rules=rules).promote


def test_small_losses_do_not_add_up(tmp_path):
    """Eight runs, each .002 worse than what it would take over from: no champion loses more than the margin."""
    settings = Settings(home=tmp_path)
    loss = {"first": 0.0}
    random = np.random.default_rng(3)
    outcomes = []
    for day in range(9):
        clock = Clock.parse(f"2017-12-{1 + day:02}")
        now = registry.champion(settings)
        name = f"bundle{day}" if now else "first"
        loss[name] = loss[now["judged"]] - 0.002 if now else 0.0
        write_json(settings.bundles / name / "manifest.json", {})
        registry.nominate(settings, name, clock)
        window, reports = random.beta(2, 4, USERS), RunReports.of(settings, clock)
        for digest in (name, *find_rivals(settings, clock, name).digests):
            values = window + noise(10 * day + int(digest[-1], 36)) / np.sqrt(2) + loss[digest]
            write_json(reports.leaderboard_path(digest), judged(reports.folder, digest, values))
        decision = decide(settings, clock)
        outcomes.append(refused(decision))
        if decision.promote:
            registry.promote(settings, name, clock, decision)
    assert outcomes[:2] == [set(), set()]  # one such loss may be chance
    assert all(outcome == {"reference"} for outcome in outcomes[2:])  # each looks harmless beside its predecessor
    assert loss[registry.champion(settings)["judged"]] >= -0.02 * 0.35
    best = registry.reference(settings, clock, GateRules().reference_days)
    assert best["judged"] == "first"


def test_noise_is_no_reason_to_refuse(tmp_path, ndcg):
    decision = gate(judged(tmp_path, "new", ndcg + noise(1) - 0.001), judged(tmp_path, "old", ndcg))
    assert decision.figures_of("champion")["mean"] < 0
    assert decision.promote


def test_two_windows_or_other_users_are_not_compared(tmp_path, ndcg):
    challenger = judged(tmp_path, "new", ndcg)
    other = judged(tmp_path, "old", ndcg, window=["2017-10-01T00:00:00+00:00", "2017-11-17T00:00:00+00:00"])
    with pytest.raises(ValueError, match="2017-10-01"):
        gate(challenger, other)
    with pytest.raises(ValueError, match="different users"):
        gate(challenger, judged(tmp_path, "fewer", ndcg[1:]))


def test_a_slice_that_loses_for_certain_is_guarded(tmp_path, ndcg):
    """The mean of all is fine, and some users are worse off."""
    slices = {"new users": np.arange(150), "few users": np.arange(30), "others": np.arange(150, USERS)}
    ranks = np.where(np.arange(USERS) < 150, 2, 1)  # NDCG .63 of 1
    old, new = judged(tmp_path, "old", ndcg), judged(tmp_path, "new", ndcg, ranks=ranks, slices=slices)
    decision = gate(new, old)
    assert refused(decision) == {"slice new users"}  # those of thirty users cannot tell
    assert decision.figures_of("slice new users")["mean"] == pytest.approx(1 / np.log2(3) - 1)
    assert gate(new, judged(tmp_path, "as bad", ndcg, ranks=ranks)).promote


def test_noise_in_one_of_a_dozen_slices_refuses_nothing(tmp_path, ndcg):
    """Two models that are equally good, and hit seldom, on twelve slices: in forty runs hardly one is refused."""
    slices = {f"slice {number}": np.arange(number * 140, (number + 1) * 140) for number in range(12)}
    refusals = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        old, new = (
            judged(tmp_path, name, ndcg, ranks=random.integers(1, 60, USERS), slices=slices) for name in ("old", "new")
        )
        refusals += not all(check.passed for check in check_slices(new, old, GateRules()))
    assert refusals <= 2


@pytest.mark.parametrize(
    ("ours", "theirs", "promote"),
    [(0.04, 0.01, True), (0.06, 0.05, True), (0.09, 0.05, False), (None, None, True), (None, 0.02, False)],
)
def test_probabilities_must_not_become_worse(tmp_path, ndcg, ours, theirs, promote):
    reports = [
        judged(tmp_path, name, ndcg, reliability=None if error is None else {"listed": {"ece": error}})
        for name, error in (("new", ours), ("old", theirs))
    ]
    decision = gate(*reports)
    assert decision.promote is promote
    assert refused(decision) == (set() if promote else {"calibration"})


def test_lists_must_not_shrink_to_bestsellers(tmp_path, ndcg):
    few, many = ({"zhiyin": {"coverage@10": share}} for share in (0.2, 0.3))
    old = judged(tmp_path, "old", ndcg, models=many)
    assert refused(gate(judged(tmp_path, "new", ndcg, models=few), old)) == {"coverage"}
    assert gate(judged(tmp_path, "new", ndcg, models=many), judged(tmp_path, "older", ndcg, models=few)).promote


def test_few_users_promote_a_first_champion_with_a_warning_and_no_second(tmp_path):
    ndcg = np.random.default_rng(0).beta(2, 4, 100)
    first = gate(judged(tmp_path, "new", ndcg, baseline=ndcg.mean() - 0.001))
    assert first.promote
    assert any(reason.startswith("WARNING: 100 users") for reason in first.reasons)
    assert not gate(judged(tmp_path, "new", ndcg, baseline=ndcg.mean() + 0.001)).promote
    second = gate(judged(tmp_path, "better", ndcg + 0.1), judged(tmp_path, "new", ndcg))
    assert refused(second) == {"users"}


def test_a_window_that_lost_its_users_is_bad_data(tmp_path, ndcg):
    reports = judged(tmp_path, "new", ndcg), judged(tmp_path, "old", ndcg)
    assert gate(*reports, promoted_on=2_000).promote
    decision = gate(*reports, promoted_on=4_000)
    assert refused(decision) == {"users"}
    assert "landed" in decision.refusals[0]


def test_a_hold_refuses_whatever_the_figures_say(tmp_path, ndcg):
    decision = gate(judged(tmp_path, "new", ndcg + 0.1), judged(tmp_path, "old", ndcg), held="`zhiyin release` lifts")
    assert refused(decision) == {"hold"}
    assert "zhiyin release" in decision.refusals[0]


def test_a_decision_is_the_same_after_it_was_kept(tmp_path, ndcg):
    settings, clock = Settings(home=tmp_path), Clock.parse("2017-12-01")
    decision = gate(judged(tmp_path, "new", ndcg), judged(tmp_path, "old", ndcg))
    RunReports.of(settings, clock).write_decision(decision)
    kept = RunReports.of(settings, clock).decision()
    assert kept == decision
    with pytest.raises(ValueError, match="run the step gate again"):
        Decision.read({"promote": True, "challenger": "new"})

"""Law 7: nothing promotes itself. What the gate lets through, and what it refuses."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.reports import RunReports
from pipeline.rivals import decide, find_rivals
from tests.model.judged import MISS, judged
from training.evaluation import GateRules, gate
from training.evaluation.gate import paired_difference
from training.evaluation.guardrails import check_slices
from zhiyin import registry
from zhiyin.clock import Clock
from zhiyin.registry import Decision
from zhiyin.settings import Settings
from zhiyin.store import write_json

USERS = 2_000


def lists(users=USERS):
    """Ranks with an NDCG@10 of .35: a list has the item first, or not at all."""
    return np.where(np.arange(users) < 0.35 * users, 1, MISS)


def changed(ranks, change=0.0, seed=1, swapped=0.0035):
    """Other lists whose mean is so much higher, and of which some by chance hit or miss (each that share of the users):
    close models differ so much that the interval of 2,000 users' difference is +-.004."""
    random, ranks = np.random.default_rng(seed), ranks.copy()
    swaps, more = round(swapped * len(ranks)), round(change * len(ranks))
    hits, misses = np.flatnonzero(ranks == 1), np.flatnonzero(ranks == MISS)
    half = len(hits) // 2
    ranks[random.permutation(hits[:half])[:swaps]] = MISS
    ranks[random.permutation(misses[half:])[:swaps]] = 1
    if more > 0:
        ranks[misses[:more]] = 1
    else:
        ranks[hits[len(hits) + more :]] = MISS
    return ranks


RANKS = lists()


def refused(decision):
    return {check.name for check in decision.checks if not check.passed}


@pytest.mark.parametrize(("baseline", "promote"), [(0.1, True), (0.345, False), (0.9, False)])
def test_a_challenger_must_beat_every_baseline_by_its_interval(tmp_path, baseline, promote):
    decision = gate(judged(tmp_path, "new", RANKS, baseline))  # .35: by the mean alone it beats the second
    assert decision.promote is promote
    assert refused(decision) == (set() if promote else {"popularity", "personal_frequency"})
    assert any("does not beat popularity" in reason for reason in decision.refusals) is not promote


@pytest.mark.parametrize(
    ("change", "promote"), [(-0.05, False), (-0.008, False), (-0.002, True), (0.0, True), (0.05, True)]
)
def test_a_challenger_must_not_have_lost_more_than_the_margin(tmp_path, change, promote):
    champion, challenger = judged(tmp_path, "old", RANKS), judged(tmp_path, "new", changed(RANKS, change))
    decision = gate(challenger, champion)
    gap = decision.figures_of("champion")
    assert gap["mean"] == pytest.approx(change)
    if abs(change) < 0.005:
        assert 0.003 < gap["high"] - gap["mean"] < 0.005
    assert gap["margin"] == pytest.approx(0.02 * 0.35)
    assert (gap["low"] >= -gap["margin"]) is promote
    assert decision.promote is promote
    assert refused(decision) == (set() if promote else {"champion"})


def test_the_margin_is_a_setting(tmp_path):
    reports = judged(tmp_path, "new", changed(RANKS, -0.008)), judged(tmp_path, "old", RANKS)
    assert not gate(*reports).promote
    assert gate(*reports, rules=GateRules.of(Settings(gate_margin=0.05))).promote


def test_so_few_users_that_an_equal_would_be_refused_are_told_what_it_takes(tmp_path):
    reports = judged(tmp_path, "new", changed(lists(300))), judged(tmp_path, "old", lists(300))
    decision = gate(*reports)
    assert refused(decision) == {"champion"}
    (reason,) = decision.refusals
    assert "may be worse" in reason
    margin = float(reason.split("ZHIYIN_GATE_MARGIN=")[1])
    assert gate(*reports, rules=GateRules(margin=margin)).promote


def test_small_losses_do_not_add_up(tmp_path):
    """Eight runs, each .002 worse than what it would take over from: no champion loses more than the margin."""
    settings = Settings(home=tmp_path)
    loss = {"first": 0.0}
    outcomes = []
    for day in range(9):
        clock = Clock.parse(f"2017-12-{1 + day:02}")
        now = registry.champion(settings)
        name = f"bundle{day}" if now else "first"
        loss[name] = loss[now["judged"]] - 0.002 if now else 0.0
        write_json(settings.bundles / name / "manifest.json", {})
        registry.nominate(settings, name, clock)
        reports = RunReports.of(settings, clock)
        for digest in (name, *find_rivals(settings, clock, name).digests):
            ranks = changed(RANKS, loss[digest], seed=10 * day + int(digest[-1], 36), swapped=0.00175)
            write_json(reports.leaderboard_path(digest), judged(reports.folder, digest, ranks))
        decision = decide(settings, clock)
        outcomes.append(refused(decision))
        if decision.promote:
            registry.promote(settings, name, clock, decision)
    assert outcomes[:2] == [set(), set()]  # one such loss may be chance
    assert all("reference" in outcome for outcome in outcomes[2:]), outcomes
    assert {"reference"} in outcomes  # which looked harmless beside its predecessor
    assert loss[registry.champion(settings)["judged"]] >= -0.02 * 0.35
    best = registry.reference(settings, clock, GateRules().reference_days)
    assert best["judged"] == "first"


def test_noise_is_no_reason_to_refuse(tmp_path):
    decision = gate(judged(tmp_path, "new", changed(RANKS, -0.001)), judged(tmp_path, "old", RANKS))
    assert decision.figures_of("champion")["mean"] < 0
    assert decision.promote


@pytest.mark.parametrize("other", [{"window": ["2017-10-01", "2017-10-15"]}, {"protocol": "leave_one_out"}])
def test_two_windows_or_protocols_are_not_compared(tmp_path, other):
    with pytest.raises(ValueError, match=r"2017-10-01|leave_one_out"):
        gate(judged(tmp_path, "new", RANKS), judged(tmp_path, "old", RANKS, **other))


def test_what_a_bundle_does_not_know_it_misses(tmp_path):
    """Both are held against one answer: an earlier catalogue is not spared the newest items."""
    old, new = judged(tmp_path, "old", RANKS), judged(tmp_path, "new", RANKS)
    for kind in ("truth", "lists"):
        table = pq.read_table(new[f"{kind}_file"])
        newest = table.slice(USERS - 100).set_column(1, "item_id", pa.array(["newest"] * 100))
        newest = newest.set_column(2, "rank", pa.array([1] * 100)) if kind == "lists" else newest
        pq.write_table(pa.concat_tables([table.slice(0, USERS - 100), newest]), new[f"{kind}_file"])
        known = pq.read_table(old[f"{kind}_file"]).slice(0, USERS - 100)  # its lists cover no other user
        pq.write_table(known, old[f"{kind}_file"])
    gap = paired_difference(new, old)
    assert gap.users == USERS
    assert gap.mean == pytest.approx(100 / USERS)
    assert paired_difference(old, new).mean == pytest.approx(-gap.mean)


def test_a_slice_that_loses_for_certain_is_guarded(tmp_path):
    """The mean of all is fine, and some users are worse off."""
    slices = {"new users": np.arange(150), "few users": np.arange(30), "others": np.arange(150, USERS)}
    ranks = RANKS.copy()
    ranks[:150], ranks[800:900] = 2, 1  # NDCG .63 instead of 1 for some, 1 instead of 0 for others
    old, new = judged(tmp_path, "old", RANKS), judged(tmp_path, "new", ranks, slices=slices)
    decision = gate(new, old)
    assert decision.figures_of("champion")["mean"] > 0
    assert refused(decision) == {"slice new users"}  # those of thirty users cannot tell
    assert decision.figures_of("slice new users")["mean"] == pytest.approx(1 / np.log2(3) - 1)
    assert gate(new, judged(tmp_path, "as bad", ranks)).promote


def test_noise_in_one_of_a_dozen_slices_refuses_nothing(tmp_path):
    """Two models that are equally good, and hit seldom, on twelve slices: in 25 runs hardly one is refused."""
    slices = {f"slice {number}": np.arange(number * 140, (number + 1) * 140) for number in range(12)}
    refusals = 0
    for seed in range(25):
        random = np.random.default_rng(seed)
        old, new = (judged(tmp_path, name, random.integers(1, 60, USERS), slices=slices) for name in ("old", "new"))
        refusals += not all(check.passed for check in check_slices(new, old, GateRules()))
    assert refusals <= 1


@pytest.mark.parametrize(
    ("ours", "theirs", "promote"),
    [(0.04, 0.01, True), (0.06, 0.05, True), (0.09, 0.05, False), (None, None, True), (None, 0.02, False)],
)
def test_probabilities_must_not_become_worse(tmp_path, ours, theirs, promote):
    reports = [
        judged(tmp_path, name, RANKS, reliability=None if error is None else {"listed": {"ece": error}})
        for name, error in (("new", ours), ("old", theirs))
    ]
    decision = gate(*reports)
    assert decision.promote is promote
    assert refused(decision) == (set() if promote else {"calibration"})


def test_lists_must_not_shrink_to_bestsellers(tmp_path):
    few, many = ({"zhiyin": {"coverage@10": share}} for share in (0.2, 0.3))
    old = judged(tmp_path, "old", RANKS, models=many)
    assert refused(gate(judged(tmp_path, "new", RANKS, models=few), old)) == {"coverage"}
    assert gate(judged(tmp_path, "new", RANKS, models=many), judged(tmp_path, "older", RANKS, models=few)).promote


def test_few_users_promote_a_first_champion_with_a_warning_and_no_second(tmp_path):
    few = lists(100)
    first = gate(judged(tmp_path, "new", few, baseline=0.349))
    assert first.promote
    assert any(reason.startswith("WARNING: 100 users") for reason in first.reasons)
    assert not gate(judged(tmp_path, "new", few, baseline=0.351)).promote
    second = gate(judged(tmp_path, "better", np.ones(100, int)), judged(tmp_path, "new", few))
    assert refused(second) == {"users"}


def test_a_window_that_lost_its_users_is_bad_data(tmp_path):
    reports = judged(tmp_path, "new", RANKS), judged(tmp_path, "old", RANKS)
    assert gate(*reports, promoted_on=3_900).promote
    decision = gate(*reports, promoted_on=4_100)
    assert refused(decision) == {"users"}
    assert "landed" in decision.refusals[0]


def test_a_hold_refuses_whatever_the_figures_say(tmp_path):
    better = judged(tmp_path, "new", changed(RANKS, 0.1))
    decision = gate(better, judged(tmp_path, "old", RANKS), held="`zhiyin release` lifts the hold")
    assert refused(decision) == {"hold"}
    assert "zhiyin release" in decision.refusals[0]


def test_a_decision_is_the_same_after_it_was_kept(tmp_path):
    settings, clock = Settings(home=tmp_path), Clock.parse("2017-12-01")
    decision = gate(judged(tmp_path, "new", RANKS), judged(tmp_path, "old", RANKS))
    RunReports.of(settings, clock).write_decision(decision)
    kept = RunReports.of(settings, clock).decision()
    assert kept == decision
    with pytest.raises(ValueError, match="run the step gate again"):
        Decision.read({"promote": True, "challenger": "new"})

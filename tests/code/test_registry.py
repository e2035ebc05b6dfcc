"""Law 7: a bundle becomes champion by a move of its own; each is on record, and one command takes it back for good."""

import json

import pytest

from tests.promotions import decided, make, promote
from zhiyin import registry
from zhiyin.clock import Clock
from zhiyin.registry import Check, Decision
from zhiyin.settings import Settings

CLOCK = Clock.parse("2017-12-01")


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path)


def day(number):
    return Clock.parse(f"2017-12-{number:02}")


def test_promotion_moves_a_flat_pointer_and_one_call_takes_it_back_each_time(settings):
    assert registry.champion(settings) is None
    for number, digest in enumerate(("aaa", "bbb", "ccc"), 1):
        promote(settings, digest, day(number))
    assert json.loads((settings.registry / "champion.json").read_text()) == {
        "digest": "ccc",
        "judged": "ccc",
        "bundle": str(settings.bundles / "ccc"),
        "promoted_at_as_of": "2017-12-03T00:00:00+00:00",
        "promotion": 3,
    }
    assert registry.rollback(settings)["digest"] == "bbb"
    assert registry.rollback(settings)["digest"] == "aaa"
    assert registry.champion(settings)["promoted_at_as_of"].startswith("2017-12-01")
    with pytest.raises(ValueError, match="no earlier champion"):
        registry.rollback(settings)
    promote(settings, "ddd", day(4))
    assert registry.rollback(settings)["digest"] == "aaa"  # not to what was rolled back before


def test_a_bundle_that_is_gone_is_neither_promoted_nor_gone_back_to(settings):
    promote(settings, "aaa", CLOCK)
    with pytest.raises(FileNotFoundError, match="zzz"):
        registry.promote(settings, "zzz", CLOCK, decided(settings, "zzz"))
    promote(settings, "bbb", CLOCK)
    (settings.bundles / "aaa" / "manifest.json").unlink()
    with pytest.raises(FileNotFoundError, match="aaa"):
        registry.rollback(settings)
    assert registry.champion(settings)["digest"] == "bbb"


def test_without_a_decision_that_says_yes_to_it_nothing_is_promoted(settings):
    promote(settings, "aaa", CLOCK)
    make(settings, "bbb")
    with pytest.raises(TypeError, match="decision"):
        registry.promote(settings, "bbb", CLOCK)
    for decision, told in (
        (decided(settings, "bbb", passed=False), "as a test wants it"),
        (Decision("bbb", (), "aaa"), "refused"),
        (decided(settings, "ccc"), "has not judged"),
        (Decision("bbb", (Check("champion", True, "better"),), "older"), "the champion is now aaa"),
    ):
        with pytest.raises(ValueError, match=told):
            registry.promote(settings, "bbb", CLOCK, decision)
    assert registry.champion(settings)["digest"] == "aaa"


def test_promoting_again_changes_nothing(settings):
    first = promote(settings, "aaa", CLOCK)
    assert promote(settings, "aaa", CLOCK) == first
    assert len(registry.read_history(settings)) == 1


def test_the_history_says_when_who_why_by_which_figures_and_runs(settings, monkeypatch):
    registry.link_run(settings, "aaa", "mlflow-1")
    gap = {"mean": 0.01, "low": 0.001, "high": 0.02}
    monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", "as_of_2017-12-01")
    promote(settings, "aaa", CLOCK, gap=gap)
    monkeypatch.delenv("AIRFLOW_CTX_DAG_RUN_ID")
    monkeypatch.setenv("LOGNAME", "mei")
    promote(settings, "bbb", CLOCK)
    registry.rollback(settings, "lists were empty")
    registry.release(settings, "a wrong alarm")
    promoted, _, back, released = registry.read_history(settings)
    assert promoted["at"].endswith("+00:00")
    assert (promoted["actor"], promoted["airflow_run_id"]) == ("airflow", "as_of_2017-12-01")
    assert promoted["mlflow_run_id"] == "mlflow-1"
    assert promoted["gate"]["checks"]["champion"] == gap
    assert promoted["gate"]["users"] == 1_700
    assert (back["action"], back["actor"], back["reason"]) == ("rollback", "mei", "lists were empty")
    assert (back["digest"], back["took_back"]["digest"]) == ("aaa", "bbb")
    assert (released["action"], released["reason"]) == ("release", "a wrong alarm")
    assert [entry["number"] for entry in registry.read_history(settings)] == [1, 2, 3, 4]


def test_a_rollback_holds_the_lineage_until_a_release(settings):
    promote(settings, "aaa", day(1))
    promote(settings, "bbb", day(2), goes_on_from="aaa")
    make(settings, "ccc", "bbb")  # trained and let through while bbb was champion
    waiting = decided(settings, "ccc")
    registry.rollback(settings, "odd lists")
    make(settings, "ddd", "ccc")
    for digest in ("bbb", "ccc", "ddd"):
        hold = registry.hold_of(settings, digest)
        assert hold.judged == "bbb"
        with pytest.raises(ValueError, match=r"odd lists.*zhiyin release"):
            registry.promote(settings, digest, day(3), decided(settings, digest))
    with pytest.raises(ValueError, match="champion is now aaa"):
        registry.promote(settings, "ccc", day(3), waiting)
    assert registry.champion(settings)["digest"] == "aaa"

    make(settings, "eee", "aaa")  # what starts from the champion is another lineage
    assert registry.hold_of(settings, "eee") is None
    promote(settings, "eee", day(3), goes_on_from="aaa")
    assert registry.hold_of(settings, "ccc") is not None

    assert [hold.digest for hold in registry.release(settings)] == ["bbb"]
    assert registry.holds(settings) == []
    promote(settings, "ccc", day(4), goes_on_from="bbb")
    assert registry.champion(settings)["digest"] == "ccc"


def test_two_rollbacks_hold_both_and_what_still_stands_is_on_no_hold(settings):
    promote(settings, "aaa", day(1))
    promote(settings, "bbb", day(2), goes_on_from="aaa")
    promote(settings, "bbb refitted", day(2), judged="bbb")
    promote(settings, "ccc", day(3), goes_on_from="bbb")
    registry.rollback(settings)
    registry.rollback(settings)
    assert registry.champion(settings)["digest"] == "bbb"
    assert [hold.judged for hold in registry.holds(settings)] == ["ccc"]
    registry.rollback(settings)
    assert [hold.judged for hold in registry.holds(settings)] == ["ccc", "bbb"]


def test_a_run_goes_on_from_the_last_promotion_before_its_day(settings):
    assert registry.start_of(settings, day(1)) is None
    promote(settings, "a refitted", day(1), judged="aaa")
    promote(settings, "bbb", day(5))
    assert registry.start_of(settings, day(1)) is None
    assert registry.start_of(settings, day(3)) == "aaa"
    assert registry.start_of(settings, day(5)) == "aaa"  # the run of that day again gives the same bundle
    assert registry.start_of(settings, day(6)) == "bbb"
    registry.rollback(settings)
    assert registry.start_of(settings, day(6)) == "aaa"


def test_the_served_and_the_judged_bundle_are_both_kept(settings):
    pointer = promote(settings, "refitted", CLOCK, judged="fitted to the cut")
    assert (pointer["digest"], pointer["judged"]) == ("refitted", "fitted to the cut")
    assert pointer["bundle"] == str(settings.bundles / "refitted")
    promote(settings, "bbb", CLOCK)
    back = registry.rollback(settings)
    assert (back["digest"], back["judged"]) == ("refitted", "fitted to the cut")


def test_the_reference_is_the_best_of_the_last_eight_weeks(settings):
    assert registry.reference(settings, day(1), 56) is None
    steps = [(1, 0.0), (2, +0.004), (3, -0.002), (4, -0.002), (5, +0.001)]
    for number, mean in steps:
        promote(settings, f"of day {number}", day(number), gap={"mean": mean, "low": mean - 1, "high": mean + 1})

    def best(clock):
        entry = registry.reference(settings, clock, 56)
        return entry["judged"] if entry else None

    assert best(day(6)) == "of day 2"
    assert best(Clock.parse("2018-01-28")) == "of day 3"  # day 2 is over eight weeks old
    assert best(Clock.parse("2018-01-29")) == "of day 5"
    assert best(Clock.parse("2018-03-01")) is None
    assert best(day(1)) == "of day 1"  # those of later days have seen its window
    manifest = settings.bundles / "of day 2" / "manifest.json"
    kept = manifest.rename(manifest.with_name("gone"))
    assert best(day(6)) == "of day 3"
    kept.rename(manifest)
    for _ in range(4):
        registry.rollback(settings)
    assert best(day(6)) == "of day 1"


def test_a_thousand_promotions_leave_a_small_pointer(settings):
    promote(settings, "aaa", day(1))
    (first,) = registry.read_history(settings)
    lines = [json.dumps(first | {"number": number, "promotion": number}) for number in range(1, 1_001)]
    (settings.registry / "history.jsonl").write_text("\n".join(lines) + "\n")
    promote(settings, "bbb", day(2))
    assert registry.champion(settings)["promotion"] == 1_001
    assert (settings.registry / "champion.json").stat().st_size < 1_000
    assert registry.rollback(settings)["promotion"] == 1_000


def nested(settings, digests):
    """The pointer of an earlier version, which held every predecessor; as text, for it is too deep for a writer."""
    pointer = "null"
    for number, digest in enumerate(digests):
        make(settings, digest)
        bundle, at = settings.bundles / digest, f"2017-{1 + number % 12:02}-01T00:00:00+00:00"
        pointer = f'{{"digest": "{digest}", "bundle": "{bundle}", "promoted_at_as_of": "{at}",\n"previous": {pointer}}}'
    settings.registry.mkdir(parents=True)
    (settings.registry / "champion.json").write_text(pointer)
    (settings.registry / "history.jsonl").write_text(
        '{"move": "promote", "digest": "b0", "as_of": "x", "from": null}\n'
    )


def test_a_nested_pointer_of_an_earlier_version_is_read_and_becomes_history(settings):
    nested(settings, [f"b{number}" for number in range(1_500)])
    before = (settings.registry / "champion.json").read_text()
    assert registry.champion(settings) == {
        "digest": "b1499",
        "judged": "b1499",
        "bundle": str(settings.bundles / "b1499"),
        "promoted_at_as_of": "2017-12-01T00:00:00+00:00",
        "promotion": 1_500,
    }
    assert len(registry.standing(settings)) == 1_500
    assert (settings.registry / "champion.json").read_text() == before  # who reads writes nothing
    assert registry.rollback(settings, "the first move")["digest"] == "b1498"
    assert (settings.registry / "champion.json").stat().st_size < 1_000
    assert registry.read_history(settings)[-1]["number"] == 1_501
    assert "move" in (settings.registry / "history-before-numbers.jsonl").read_text()
    assert registry.rollback(settings)["digest"] == "b1497"


def test_what_a_crash_leaves_is_mended_by_the_next_move(settings):
    promote(settings, "aaa", day(1))
    old = (settings.registry / "champion.json").read_text()
    promote(settings, "bbb", day(2))
    history = settings.registry / "history.jsonl"
    (settings.registry / "champion.json").write_text(old)  # the line is there, the pointer has not moved yet
    assert promote(settings, "bbb", day(2))["digest"] == "bbb"
    assert len(registry.read_history(settings)) == 2
    with history.open("a") as file:
        file.write('{"number": 3, "action": "rollb')  # cut off
    assert len(registry.read_history(settings)) == 2
    promote(settings, "ccc", day(3))
    assert [entry["digest"] for entry in registry.read_history(settings)] == ["aaa", "bbb", "ccc"]


def test_a_line_that_is_no_json_is_named(settings):
    promote(settings, "aaa", CLOCK)
    with (settings.registry / "history.jsonl").open("a") as file:
        file.write("{\n")
    with pytest.raises(ValueError, match=r"history\.jsonl"):
        registry.standing(settings)

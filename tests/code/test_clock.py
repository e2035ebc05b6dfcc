"""Law 1: every moment of a run derives from as_of."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from zhiyin.clock import Clock, fourth_monday


def day(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_windows_lie_end_to_end_before_what_they_are_judged_on():
    clock = Clock.parse("2017-12-01", label_days=14, windows=3)
    assert clock.judged_cuts == (day("2017-10-06"), day("2017-10-20"), day("2017-11-03"))
    assert clock.served_cuts == (day("2017-10-20"), day("2017-11-03"), day("2017-11-17"))
    assert clock.ranking_cut == day("2017-10-06")
    assert clock.snapshots == tuple(day(f"2017-{moment}") for moment in ("10-06", "10-20", "11-03", "11-17", "12-01"))


@pytest.mark.parametrize("label_days", [1, 7, 14, 28])
@pytest.mark.parametrize("windows", [1, 3, 6])
def test_no_window_overlaps_another_or_what_it_is_judged_on(label_days, windows):
    for number in range(30):
        clock = Clock(day("2018-02-01") + timedelta(days=number), label_days, windows)
        for cuts, end in ((clock.judged_cuts, clock.evaluation_cut), (clock.served_cuts, clock.as_of)):
            assert len(cuts) == windows
            assert {two - one for one, two in pairwise([*cuts, end])} == {timedelta(days=label_days)}
        assert list(clock.snapshots) == sorted(set(clock.snapshots))
        assert {clock.as_of, clock.evaluation_cut, clock.reference_cut, clock.ranking_cut} <= set(clock.snapshots)
        assert clock.ranking_cut == clock.judged_cuts[0]
        assert clock.as_of == clock.snapshots[-1]


def test_generators_of_label_windows_are_those_of_every_fourth_monday():
    mondays = {fourth_monday(day("2017-10-02") + timedelta(days=number)) for number in range(56)}
    assert len(mondays) == 3
    assert {moment.weekday() for moment in mondays} == {0}
    for moment in mondays:
        assert fourth_monday(moment) == moment
        assert fourth_monday(moment - timedelta(days=1)) == moment - timedelta(days=28)


def test_a_ranker_needs_a_window():
    with pytest.raises(ValueError, match="windows=0"):
        Clock(day("2017-12-01"), windows=0)


@pytest.mark.parametrize("text", ["2017-12-01T00:00:00+00:00", "2017-12-01", "2017-12-01T01:00:00+01:00"])
def test_the_same_moment_is_the_same_clock(text):
    assert Clock.parse(text).as_of == datetime(2017, 12, 1, tzinfo=UTC)


@pytest.mark.parametrize("text", ["yesterday", "2017-13-01", "2017-12-01T05:00:00+00:00"])
def test_what_is_no_midnight_is_refused_with_the_value(text):
    with pytest.raises(ValueError, match="as_of") as error:
        Clock.parse(text)
    assert text[:10] in str(error.value)

"""Law 1: every moment of a run derives from as_of."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from zhiyin.clock import Clock


def day(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_windows_start_on_mondays_and_end_before_what_they_are_judged_on():
    clock = Clock.parse("2017-12-01", label_days=14, windows=3)
    assert clock.judged_cuts == (day("2017-10-16"), day("2017-10-23"), day("2017-10-30"))
    assert clock.served_cuts == (day("2017-10-30"), day("2017-11-06"), day("2017-11-13"))
    assert clock.ranking_cut == day("2017-10-16")
    assert clock.snapshots == tuple(
        day(f"2017-{moment}") for moment in ("10-16", "10-23", "10-30", "11-03", "11-06", "11-13", "11-17", "12-01")
    )


@pytest.mark.parametrize("label_days", [1, 7, 14, 28])
@pytest.mark.parametrize("windows", [1, 3, 6])
def test_windows_stay_until_a_newer_one_has_ended(label_days, windows):
    """Of one day to the next the windows are the same; on the day on which a Monday's window ends it is the newest."""
    for number in range(30):
        clock = Clock(day("2018-02-01") + timedelta(days=number), label_days, windows)
        for cuts, end in ((clock.judged_cuts, clock.evaluation_cut), (clock.served_cuts, clock.as_of)):
            assert len(cuts) == windows
            assert {cut.weekday() for cut in cuts} == {0}
            assert [two - one for one, two in pairwise(cuts)] == [timedelta(days=7)] * (windows - 1)
            assert timedelta(0) <= end - cuts[-1] - timedelta(days=label_days) < timedelta(days=7)
        assert list(clock.snapshots) == sorted(set(clock.snapshots))
        assert {clock.as_of, clock.evaluation_cut, clock.reference_cut, clock.ranking_cut} <= set(clock.snapshots)
        assert clock.ranking_cut == clock.judged_cuts[0]
        assert clock.as_of == clock.snapshots[-1]


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

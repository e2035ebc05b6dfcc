"""Law 1: every moment of a run derives from as_of."""

from datetime import UTC, datetime

import pytest

from zhiyin.clock import Clock


def test_windows_lie_before_as_of_and_do_not_overlap():
    clock = Clock.parse("2017-12-01", label_days=14)
    assert clock.snapshots == (
        datetime(2017, 10, 20, tzinfo=UTC),
        datetime(2017, 11, 3, tzinfo=UTC),
        datetime(2017, 11, 17, tzinfo=UTC),
        datetime(2017, 12, 1, tzinfo=UTC),
    )
    assert clock.ranking_cut == datetime(2017, 10, 20, tzinfo=UTC)


@pytest.mark.parametrize("text", ["2017-12-01T00:00:00+00:00", "2017-12-01", "2017-12-01T01:00:00+01:00"])
def test_the_same_moment_is_the_same_clock(text):
    assert Clock.parse(text).as_of == datetime(2017, 12, 1, tzinfo=UTC)


@pytest.mark.parametrize("text", ["yesterday", "2017-13-01", "2017-12-01T05:00:00+00:00"])
def test_what_is_no_midnight_is_refused_with_the_value(text):
    with pytest.raises(ValueError, match="as_of") as error:
        Clock.parse(text)
    assert text[:10] in str(error.value)

"""The moments in an answer, and the labels of what is old."""

from datetime import UTC, datetime, timedelta

import pytest

from bento.ages import Ages

MODEL = datetime(2020, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("items", "user", "days", "labels"),
    [
        (0, 0, 7, []),
        (0, None, 7, []),
        (7, 7, 7, []),
        (8, 8, 7, ["stale_model"]),
        (8, None, 7, ["stale_model"]),
        (8, 8, 14, []),
        (0, 8, 7, ["stale_model", "stale_item_state"]),
        (2, 10, 7, ["stale_model", "stale_item_state"]),
        (2, -30, 7, []),  # old rows of users have a limit of their own
    ],
)
def test_what_is_far_behind_the_rest_is_labelled(items: int, user: int | None, days: int, labels: list[str]) -> None:
    at = None if user is None else MODEL + timedelta(days=user)
    assert Ages(MODEL + timedelta(days=items), MODEL, at, MODEL).stale(days) == labels


def test_each_part_has_its_age_at_the_moment_of_the_list() -> None:
    ages = Ages(MODEL + timedelta(days=1), MODEL, None, MODEL + timedelta(days=1, hours=12))
    assert ages.days == {"item_state": 0.5, "model": 1.5}
    assert ages.differ
    assert not Ages(MODEL, MODEL, MODEL, MODEL + timedelta(days=1)).differ

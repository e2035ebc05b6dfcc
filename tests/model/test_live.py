"""A row goes on with what its user did since, and with nothing that it holds already or that no model knows."""

from datetime import UTC, datetime
from typing import Any

from zhiyin.recommender.state.live import with_session

MIDNIGHT = datetime(2017, 12, 1, tzinfo=UTC)
ROW: dict[str, Any] = {
    "user_id": "u",
    "feature_at": MIDNIGHT,
    "sequence_item_ids": ["a", "b"],
    "sequence_types": ["purchase", "purchase"],
    "sequence_at": [1, 2],
    "sequence_values": [1.0, 2.0],
    "sequence_baskets": [0, 1],
}


def session(*events: tuple[str, str, float]) -> dict[str, Any]:
    """Events as (item, type, seconds after midnight)."""
    return {
        "session_item_ids": [item for item, _, _ in events],
        "session_types": [kind for _, kind, _ in events],
        "session_at": [MIDNIGHT.timestamp() + seconds for _, _, seconds in events],
    }


def test_only_events_since_the_row_of_types_that_were_learned_are_added() -> None:
    events = [("c", "purchase", -1), ("d", "purchase", 0), ("e", "view", 5), ("f", "purchase", 9), ("g", "purchase", 9)]
    row = with_session(ROW, session(*events), {"purchase"})
    assert row["sequence_item_ids"] == ["a", "b", "d", "f", "g"]
    assert row["sequence_baskets"] == [0, 1, 2, 3, 3]  # of one moment, one basket
    assert {len(row[name]) for name in row if name.startswith("sequence_")} == {5}
    assert ROW["sequence_item_ids"] == ["a", "b"]


def test_a_rating_of_a_session_has_no_grade() -> None:
    row = with_session(ROW, session(("c", "rating", 1), ("d", "purchase", 2)), {"purchase", "rating"})
    assert row["sequence_values"] == [1.0, 2.0, None, 1.0]


def test_without_such_events_the_row_is_as_it_was() -> None:
    assert with_session(ROW, session(("c", "purchase", -1), ("e", "view", 5)), {"purchase"}) is ROW


def test_someone_of_whom_nothing_is_stored_has_the_session_alone() -> None:
    row = with_session({"user_id": "new"}, session(("a", "view", -9), ("b", "view", -8)), {"view"})
    assert (row["sequence_item_ids"], row["sequence_baskets"]) == (["a", "b"], [0, 1])

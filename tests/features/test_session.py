"""Sessions: what a live session's push shows online is what its log would have shown in training."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import feature_repo
from feature_repo import Sessions
from feature_repo.point_in_time import connect
from feature_repo.session import LONGEST, PAUSE, SESSION_FEATURES, USER_SESSION, session_states
from feature_repo.store import open_store
from tests.features.marts import AS_OF, make_tables, publish
from zhiyin.settings import Settings

NOON = datetime(2024, 3, 4, 12, tzinfo=UTC)  # a Monday
UTC_TIME = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    {
        "user_id": pa.string(),
        "item_id": pa.string(),
        "category": pa.string(),
        "event_type": pa.string(),
        "amount": pa.float64(),
        "occurred_at": UTC_TIME,
    }.items()
)


def events(*rows: tuple[str, float, str, str, float | None]) -> pa.Table:
    """(user, minutes after noon, item, type, amount); the category is the item's first letter."""
    return pa.Table.from_pylist(
        [
            {
                "user_id": user,
                "item_id": item,
                "category": item[0],
                "event_type": kind,
                "amount": amount,
                "occurred_at": NOON + timedelta(minutes=minute),
            }
            for user, minute, item, kind, amount in rows
        ],
        schema=SCHEMA,
    )


LIVE = events(
    ("ann", 0, "a1", "view", None),
    ("ann", 10, "b1", "cart", 2.5),
    ("ann", 20, "b1", "purchase", 2.0),
    ("ann", 20, "a2", "purchase", 4.0),
    ("bob", 5, "c1", "view", None),
)


@pytest.fixture
def sessions(store: Settings) -> Sessions:
    return Sessions(store)


def states(settings: Settings, table: pa.Table) -> list[dict[str, Any]]:
    with connect(settings) as connection:
        return session_states(connection, table).order("user_id, feature_at").to_arrow_table().to_pylist()


def test_a_session_grows_with_its_events_and_ends_with_a_pause(settings: Settings) -> None:
    pause = PAUSE.total_seconds() / 60
    log = pa.concat_tables([LIVE, events(("ann", 20 + pause, "c1", "view", None), ("ann", 90, "c2", "view", None))])
    rows = [row for row in states(settings, log) if row["user_id"] == "ann"]
    assert [row["session_item_ids"] for row in rows] == [
        ["a1"],
        ["a1", "b1"],
        ["a1", "b1", "a2", "b1"],
        ["a1", "b1", "a2", "b1", "c1"],  # just in time
        ["c2"],
    ]
    assert rows[2]["session_categories"] == ["a", "b", "a", "b"]
    assert rows[2]["session_basket_item_ids"] == ["b1", "a2", "b1"]
    assert rows[2]["session_basket_amounts"] == [2.5, 4.0, 2.0]
    assert rows[2]["session_started_at"] == NOON
    assert rows[4]["session_started_at"] == NOON + timedelta(minutes=90)


def test_the_order_of_arrival_and_long_sessions_do_not_matter(settings: Settings) -> None:
    log = pa.concat_tables([LIVE, events(*(("ann", 21 + n / 60, f"d{n:03d}", "view", None) for n in range(LONGEST)))])
    backwards = log.take(pa.array(range(log.num_rows - 1, -1, -1)))
    assert states(settings, backwards) == states(settings, log)
    assert states(settings, log)[-2]["session_item_ids"] == [f"d{n:03d}" for n in range(LONGEST)]


def test_online_and_in_training_a_session_and_its_request_are_the_same(store: Settings, sessions: Sessions) -> None:
    requests = [NOON + timedelta(minutes=minute) for minute in (21, 50, 51, 24 * 60)]
    assert sessions.push(LIVE) == 2

    # The log holds the same events as marts.
    tables = make_tables(AS_OF)
    items = pa.table({"item_id": ["a1", "a2", "b1", "c1"], "category": ["a", "a", "b", "c"]})
    publish(store, AS_OF, tables | {"interactions": LIVE.drop_columns(["category"]), "items": items}, "log")
    feature_repo.write_session_history(store)
    opened = open_store(store)
    spine = pa.table(
        {
            "user_id": ["ann"] * len(requests),
            "event_timestamp": pa.array(requests, UTC_TIME),
            "requested_at": [int(moment.timestamp()) for moment in requests],
        }
    )
    job = opened.get_historical_features(spine.to_pandas(), opened.get_feature_service(USER_SESSION))
    offline = sorted(job.to_arrow().to_pylist(), key=lambda row: row["requested_at"])
    online = [sessions.read("ann", moment) for moment in requests]
    names = [*SESSION_FEATURES, "request_hour", "request_weekday", "basket_size", "basket_value"]
    assert [{name: row[name] for name in names} for row in online] == [
        {name: row[name] for name in names} for row in offline
    ]
    assert [(row["basket_size"], row["basket_value"]) for row in online] == [(2, 6.0), (2, 6.0), (0, 0.0), (0, 0.0)]
    assert [(row["request_hour"], row["request_weekday"]) for row in online] == [(12, 0)] * 3 + [(12, 1)]


def test_a_user_without_a_session_has_an_empty_basket(sessions: Sessions) -> None:
    row = sessions.read("nobody", NOON)
    assert row["session_item_ids"] is None
    assert (row["request_hour"], row["basket_size"], row["basket_value"]) == (12, 0, 0.0)


def test_a_later_push_goes_on_with_the_session_and_a_pause_ends_it(sessions: Sessions) -> None:
    sessions.push(LIVE)
    cart = events(("bob", 6, "c2", "cart", 1.0))
    for _ in range(2):  # a second delivery of an event is no second event
        sessions.push(cart)
    assert sessions.read("bob", NOON + timedelta(minutes=7))["session_item_ids"] == ["c1", "c2"]
    sessions.push(events(("bob", 90, "c3", "view", None)))
    assert sessions.read("bob", NOON + timedelta(minutes=91))["session_item_ids"] == ["c3"]


def test_events_pushed_as_they_come_make_the_session_of_the_whole_log(settings: Settings, sessions: Sessions) -> None:
    """A long one, whose first events are kept no more, with two that arrive late."""
    log = pa.concat_tables(
        [LIVE.slice(0, 3), events(*(("ann", 21 + n / 6, f"d{n:03d}", "cart", n) for n in range(LONGEST + 5)))]
    )
    late = [1, 40]
    order = [n for n in range(log.num_rows) if n not in late] + late
    for start in range(0, len(order), 7):
        sessions.push(log.take(pa.array(order[start : start + 7])))
    row = sessions.latest("ann")
    wanted = states(settings, log)[-1]
    assert row is not None
    assert row["session_started_at"].timestamp() == wanted["session_started_at"].timestamp()
    lists = [name for name in SESSION_FEATURES if not name.endswith(("started_at", "event_at"))]
    assert {name: row[name] for name in lists} == {name: wanted[name] for name in lists}


def test_a_run_leaves_live_sessions_alone(store: Settings, sessions: Sessions, dbt_manifest: Path) -> None:
    """Of people, too, whom no mart knows yet."""
    sessions.push(LIVE)
    feature_repo.apply(store, dbt_manifest)
    feature_repo.materialize(store, AS_OF)
    assert sessions.read("bob", NOON)["session_item_ids"] == ["c1"]


def test_the_log_of_sessions_is_a_file_like_the_others(store: Settings) -> None:
    tables = make_tables(AS_OF)
    items = pa.table({"item_id": ["a1"], "category": ["a"]})
    publish(store, AS_OF, tables | {"interactions": LIVE.drop_columns(["category"]), "items": items}, "log")
    table = pq.read_table(feature_repo.write_session_history(store))
    assert table.column_names == ["user_id", "feature_at", *SESSION_FEATURES]
    assert table["session_categories"].to_pylist()[0] == ["a"]

"""Sessions: events pushed as they come, in any order, make the session of all of them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import feature_repo
from feature_repo import Sessions
from feature_repo.session import KEPT, LONGEST, Step, latest_events
from feature_repo.store import open_store
from tests.features.marts import AS_OF
from zhiyin.settings import Settings

NOON = datetime(2024, 3, 4, 12, tzinfo=UTC)

Event = dict[str, Any]


def events(*rows: tuple[str, float, str, str]) -> list[Event]:
    """(user, minutes after noon, item, type)."""
    return [
        {"user_id": user, "item_id": item, "event_type": kind, "occurred_at": NOON + timedelta(minutes=minute)}
        for user, minute, item, kind in rows
    ]


LIVE = events(
    ("ann", 0, "a1", "view"),
    ("ann", 10, "b1", "cart"),
    ("ann", 20, "b1", "purchase"),
    ("ann", 20, "a2", "purchase"),
    ("bob", 5, "c1", "view"),
)


@pytest.fixture
def sessions(store: Settings) -> Sessions:
    return Sessions(store)


def items_of(sessions: Sessions, user: str) -> list[str]:
    row = sessions.latest(user)
    assert row is not None
    items: list[str] = row["session_item_ids"]
    return items


def step(second: float, item: str, kind: str = "view") -> Step:
    return second, item, kind, -1.0, -1.0, "basket", ""


def test_live_events_stand_in_order_whichever_way_they_came() -> None:
    log = [step(0.0, "a1"), step(600.0, "b1", "cart"), step(600.0, "a2", "cart")]
    in_order = [log[0], log[2], log[1]]
    assert latest_events(log) == in_order
    assert latest_events(log[::-1]) == in_order
    days_later = step(3 * 86_400.0, "c1")  # the next run may not have landed what came before
    assert latest_events([*log, days_later]) == [*in_order, days_later]
    long_after = step(KEPT.total_seconds() + 601.0, "c2")
    assert latest_events([*log, long_after]) == [long_after]
    assert latest_events([]) == []


def test_of_many_live_events_the_latest_are_kept() -> None:
    log = [step(float(n), f"d{n:03d}") for n in range(LONGEST + 5)]
    assert latest_events(log) == log[-LONGEST:]


def test_the_row_of_a_session_holds_its_events(sessions: Sessions) -> None:
    assert sessions.push(LIVE) == 2
    row = sessions.latest("ann")
    assert row is not None
    assert row["session_item_ids"] == ["a1", "b1", "a2", "b1"]
    assert row["session_types"] == ["view", "cart", "purchase", "purchase"]
    assert row["session_at"] == [(NOON + timedelta(minutes=minute)).timestamp() for minute in (0, 10, 20, 20)]
    assert row["session_values"] == [-1.0] * 4
    assert sessions.latest("nobody") is None


def test_pieces_money_basket_and_words_are_kept(sessions: Sessions) -> None:
    (bought, searched) = events(("ann", 0, "a1", "purchase"), ("ann", 1, "", "search"))
    sessions.push(
        [
            bought | {"value": 2, "amount": 3.5, "basket_id": "mine"},
            searched | {"item_id": None, "query_text": "tea", "event_id": "e"},
        ]
    )
    row = sessions.latest("ann")
    assert row is not None
    assert (row["session_values"], row["session_amounts"]) == ([2.0, -1.0], [3.5, -1.0])
    assert (row["session_baskets"], row["session_queries"]) == (["mine", "e"], ["", "tea"])


def test_a_later_push_goes_on_with_the_events(sessions: Sessions) -> None:
    sessions.push(LIVE)
    cart = events(("bob", 6, "c2", "cart"))
    for _ in range(2):  # a second delivery of an event is no second event
        sessions.push(cart)
    assert items_of(sessions, "bob") == ["c1", "c2"]
    sessions.push(events(("bob", 90, "c3", "view")))
    assert items_of(sessions, "bob") == ["c1", "c2", "c3"]


def test_events_pushed_as_they_come_make_the_session_of_all_of_them(sessions: Sessions) -> None:
    """A long one, whose first events are kept no more, with two that arrive late."""
    log = LIVE[:3] + events(*(("ann", 21 + n / 6, f"d{n:03d}", "cart") for n in range(LONGEST + 5)))
    late = [1, 40]
    order = [n for n in range(len(log)) if n not in late] + late
    for start in range(0, len(order), 7):
        sessions.push([log[n] for n in order[start : start + 7]])
    assert items_of(sessions, "ann") == [event["item_id"] for event in log[-LONGEST:]]


def test_a_run_leaves_live_sessions_alone(store: Settings, sessions: Sessions, dbt_manifest: Path) -> None:
    """Of people, too, whom no mart knows yet."""
    sessions.push(LIVE)
    feature_repo.apply(store, dbt_manifest)
    feature_repo.materialize(store, AS_OF)
    assert items_of(sessions, "bob") == ["c1"]


def test_what_an_earlier_version_registered_leaves_the_store(settings: Settings, dbt_manifest: Path) -> None:
    """Views, services and on-demand views that the code no longer makes."""
    from feast import FeatureService, FeatureView, Field, FileSource, RequestSource
    from feast.on_demand_feature_view import OnDemandFeatureView
    from feast.types import Float32, Int64

    from feature_repo.definitions import USER
    from tests.features.marts import make_tables, publish

    publish(settings, AS_OF, make_tables(AS_OF), "a")
    feature_repo.apply(settings, dbt_manifest)
    opened = open_store(settings)
    source = FileSource(name="old", path=str(settings.features / "old.parquet"), timestamp_field="feature_at")
    old = FeatureView(name="user_interest", entities=[USER], schema=[Field(name="x", dtype=Float32)], source=source)
    moment = RequestSource(name="request", schema=[Field(name="requested_at", dtype=Int64)])
    context = OnDemandFeatureView(
        name="request_context",
        sources=[moment],
        schema=[Field(name="hour", dtype=Int64)],
        mode="python",
        udf=lambda inputs: {"hour": inputs["requested_at"]},  # type: ignore[arg-type]
        udf_string="from feature_repo.session import contexts",  # the text of an earlier version
    )
    opened.apply([USER, old, context, FeatureService(name="user_interest", features=[old])])
    feature_repo.apply(settings, dbt_manifest)
    opened = open_store(settings)
    assert not {"user_interest", "request_context"} & {
        *(view.name for view in opened.list_feature_views()),
        *(view.name for view in opened.list_on_demand_feature_views()),
        *(service.name for service in opened.list_feature_services()),
    }
    feature_repo.materialize(settings, AS_OF)

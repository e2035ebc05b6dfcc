"""Materialization: all of a view first, then what is new, into whichever store there is; in SQLite and a real Redis."""

from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from feast import FeatureStore, FeatureView
from redis import Redis

import feature_repo
from feature_repo import OnlineStates, OnlineStoreError, materialization
from feature_repo.store import open_store
from tests.features.marts import AS_OF, START, USERS, clock, histories
from tests.features.runs import NEXT, advance, expect_parity
from zhiyin.settings import Settings


def test_first_all_of_a_view_then_increments_by_the_watermark(store: Settings, dbt_manifest: Path) -> None:
    assert feature_repo.materialize(store, AS_OF) == dict.fromkeys(
        ("user_activity", "user_item_repeats", "users"), "current"
    )
    done = advance(store, dbt_manifest, NEXT, "b")
    assert done["user_activity"] == "increment"
    assert open_store(store).get_feature_view("user_activity").most_recent_end_time == NEXT.as_of
    intervals = open_store(store).get_feature_view("user_activity").materialization_intervals
    assert intervals[-1] == (AS_OF.as_of, NEXT.as_of)
    expect_parity(store, NEXT)


def test_an_old_history_is_materialized_although_now_is_years_later(store: Settings) -> None:
    """Feast's own first increment would start at now minus the time to live and write nothing."""
    assert AS_OF.as_of < datetime.now(AS_OF.as_of.tzinfo) - timedelta(days=365)
    assert OnlineStates(store).user(USERS[0]) is not None


def test_a_late_event_below_the_watermark_is_not_missed(store: Settings, dbt_manifest: Path) -> None:
    rows = histories()["user_activity"].to_pylist()
    latest = max(
        (row for row in rows if row["user_id"] == USERS[0] and row["feature_at"] <= AS_OF.as_of.replace(tzinfo=None)),
        key=lambda row: row["feature_at"],
    )
    latest["events_7d"] += 1
    late = pa.Table.from_pylist(rows, schema=histories()["user_activity"].schema)
    done = advance(store, dbt_manifest, NEXT, "b", user_activity=late)
    assert done["user_activity"] == "full"
    expect_parity(store, NEXT)


def test_an_earlier_as_of_takes_the_store_back(store: Settings, dbt_manifest: Path) -> None:
    """A user whose first event is later is unknown again."""
    newcomer = {"user_id": "newcomer", "feature_at": START + timedelta(days=80), "events_7d": 1}
    schema = histories()["user_activity"].schema
    grown = pa.concat_tables([histories()["user_activity"], pa.Table.from_pylist([newcomer], schema=schema)])
    advance(store, dbt_manifest, AS_OF, "b", user_activity=grown)
    assert OnlineStates(store).user("newcomer") is not None

    done = advance(store, dbt_manifest, clock(79), "c", user_activity=grown)
    assert set(done.values()) == {"full"}
    assert OnlineStates(store).user("newcomer") is None
    expect_parity(store, clock(79))


def test_a_materialization_holds_a_few_rows_at_a_time(
    store: Settings, dbt_manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(materialization, "ROWS", 5)
    monkeypatch.setattr("feature_repo.sqlite_store.CHUNK", 3)
    monkeypatch.setattr("feature_repo.redis_store.CHUNK", 3)
    sizes = []
    write = materialization.write_rows

    def watched(store: FeatureStore, view: FeatureView, batch: pa.RecordBatch, timestamp: str) -> None:
        sizes.append(batch.num_rows)
        write(store, view, batch, timestamp)

    monkeypatch.setattr(materialization, "write_rows", watched)
    advance(store, dbt_manifest, NEXT, "b")
    assert len(sizes) > 3
    assert max(sizes) <= 5
    expect_parity(store, NEXT)


def test_another_store_is_filled_anew(store: Settings, dbt_manifest: Path, redis_url: str) -> None:
    """Marks are those of one store: turning the setting, or losing what was in it, starts over."""
    other = None if store.online_store else redis_url
    if other:
        with Redis.from_url(other) as client:
            client.flushall()
    turned = store.model_copy(update={"online_store": other})
    states = OnlineStates(turned)
    with pytest.raises(OnlineStoreError, match="does not hold what was materialized"):
        states.user(USERS[0])
    feature_repo.apply(turned, dbt_manifest)
    assert set(feature_repo.materialize(turned, AS_OF).values()) == {"full"}
    assert states.user(USERS[0]) is not None
    expect_parity(turned, AS_OF)

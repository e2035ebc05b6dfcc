"""Serving: the online store holds what training read, follows each materialization, and fails by one clear error."""

import sqlite3
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import feature_repo
from feature_repo import OnlineStates, OnlineStoreError, ParityError
from feature_repo.store import online_path, open_store, watermark_path
from tests.features.marts import AS_OF, SHAPES, START, USERS, clock, histories, make_tables, publish, write_manifest
from zhiyin.clock import Clock
from zhiyin.settings import Settings

NEXT = clock(81)


def advance(settings: Settings, dbt_manifest: Path, to: Clock, version: str, **changes: pa.Table) -> dict[str, str]:
    """Publish the marts of a later (or earlier) moment, and bring the features there."""
    publish(settings, to, make_tables(to, changes), version)
    feature_repo.apply(settings, dbt_manifest)
    return feature_repo.materialize(settings, to)


def expect_parity(settings: Settings, at: Clock) -> None:
    assert feature_repo.verify_parity(settings, at, n=100) == len(USERS)


def test_every_online_row_is_the_offline_row_of_as_of(store: Settings) -> None:
    users = pq.read_table(feature_repo.read_offline(store, AS_OF) / "users.parquet")
    offline = [row for row in users.to_pylist() if row["feature_at"] == AS_OF.as_of]
    states = OnlineStates(store)
    online = [states.user(row["user_id"]) for row in offline]
    assert online == offline
    assert [list(row) for row in online if row] == [users.column_names] * len(USERS)
    assert pa.Table.from_pylist(online, schema=users.schema).to_pylist() == offline
    expect_parity(store, AS_OF)


def test_an_unknown_user_is_none(store: Settings) -> None:
    assert OnlineStates(store).user("nobody") is None


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


def test_readers_follow_a_materialization(store: Settings, dbt_manifest: Path) -> None:
    states = OnlineStates(store)
    before = states.user(USERS[1])
    advance(store, dbt_manifest, NEXT, "b")
    after = states.user(USERS[1])
    assert before is not None
    assert after is not None
    assert (before["feature_at"], after["feature_at"]) == (AS_OF.as_of, NEXT.as_of)


def test_a_new_column_reaches_view_training_and_serving_without_another_edit(store: Settings, tmp_path: Path) -> None:
    """Law 3: the mart and its YAML change; the manifest is all that anyone else sees of it."""
    states = OnlineStates(store)
    assert "loyalty" not in (states.user(USERS[0]) or {})

    tables = make_tables(AS_OF)
    activity = tables["user_activity"]
    loyalty = pa.array([[float(n), n / 7] for n in range(activity.num_rows)], pa.list_(pa.float64()))
    publish(store, AS_OF, tables | {"user_activity": activity.append_column("loyalty", loyalty)}, "b")
    feature_repo.apply(store, write_manifest(tmp_path / "before.json"))
    feature_repo.materialize(store, AS_OF)  # the column is published, and not yet declared
    key, timestamp, columns = SHAPES["user_activity"]
    shapes = SHAPES | {"user_activity": (key, timestamp, columns | {"loyalty": "double[]"})}
    feature_repo.apply(store, write_manifest(tmp_path / "edited.json", shapes))
    feature_repo.materialize(store, AS_OF)

    view = open_store(store).get_feature_view("user_activity")
    assert "loyalty" in [field.name for field in view.features]
    offline = pq.read_table(feature_repo.read_offline(store, AS_OF) / "users.parquet")
    assert offline.schema.field("loyalty").type == pa.list_(pa.float64())
    (expected,) = [
        row for row in offline.to_pylist() if row["user_id"] == USERS[0] and row["feature_at"] == AS_OF.as_of
    ]
    row = states.user(USERS[0])
    assert row is not None
    assert len(row["loyalty"]) == 2
    assert row == expected


def test_a_mart_that_leaves_the_manifest_leaves_the_store(store: Settings, tmp_path: Path) -> None:
    shapes = {name: shape for name, shape in SHAPES.items() if name != "users"}
    assert "users" not in feature_repo.apply(store, write_manifest(tmp_path / "edited.json", shapes))
    assert "users" not in [view.name for view in open_store(store).list_feature_views()]
    feature_repo.materialize(store, AS_OF)
    row = OnlineStates(store).user(USERS[1])
    assert row is not None
    assert "age_band" not in row


@pytest.mark.parametrize("feature", ["amount_28d", "repeat_decayed_short", "age_band"])
def test_parity_names_the_user_and_the_column_that_differ(store: Settings, feature: str) -> None:
    with sqlite3.connect(online_path(store)) as connection:
        for (table,) in connection.execute("select name from sqlite_master where type = 'table'").fetchall():
            connection.execute(f"update {table} set value = x'' where feature_name = ?", [feature])
    with pytest.raises(ParityError, match=rf"user user\d\d, column {feature}: online None, offline"):
        feature_repo.verify_parity(store, AS_OF)


def test_a_store_never_materialized_is_one_clear_error(settings: Settings) -> None:
    states = OnlineStates(settings)
    with pytest.raises(OnlineStoreError, match=r"watermarks\.json"):
        states.user(USERS[0])
    assert not settings.features.exists()  # asking makes nothing


def test_a_broken_store_is_one_clear_error_and_readers_recover(store: Settings, dbt_manifest: Path) -> None:
    states = OnlineStates(store)
    assert states.user(USERS[0]) is not None
    for path in store.features.glob("online.db*"):
        path.unlink()
    online_path(store).write_bytes(b"this is no database" * 1000)
    watermark_path(store).touch()  # as if a materialization had come: the reader opens the store anew
    with pytest.raises(OnlineStoreError, match="online store of complete_journey"):
        states.user(USERS[0])

    online_path(store).unlink()
    with pytest.raises(OnlineStoreError, match=r"online\.db is gone"):
        states.user(USERS[0])

    feature_repo.apply(store, dbt_manifest)
    assert set(feature_repo.materialize(store, AS_OF).values()) == {
        "full"
    }  # the marks of the lost store are not believed
    assert states.user(USERS[0]) is not None


def test_readers_do_not_wait_for_the_writer(store: Settings) -> None:
    states = OnlineStates(store)
    writer = sqlite3.connect(online_path(store), isolation_level=None)
    try:
        writer.execute("begin exclusive")
        writer.execute("delete from zhiyin_user_activity")
        row = states.user(USERS[0])
    finally:
        writer.execute("rollback")
        writer.close()
    assert row is not None
    assert row["events_7d"] is not None

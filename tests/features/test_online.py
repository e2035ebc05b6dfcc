"""Serving: the online store holds what training read, readers follow it, and it fails by one clear error.

In SQLite and, where nothing else is said, in a real Redis.
"""

import json
import sqlite3
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError
from redis import Redis

import feature_repo
from feature_repo import OnlineStates, OnlineStoreError, ParityError
from feature_repo.online_store import online_path
from feature_repo.store import open_store, watermark_path
from tests.features.conftest import filled, redis_server
from tests.features.marts import (
    AS_OF,
    SHAPES,
    USERS,
    clock,
    make_tables,
    manifest,
    publish,
    write_manifest,
)
from tests.features.runs import NEXT, advance, expect_parity, without
from zhiyin.settings import Settings
from zhiyin.store import read_json


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


def test_a_model_goes_on_reading_the_features_it_was_trained_with(store: Settings, tmp_path: Path) -> None:
    trained = feature_repo.read_offline(store, AS_OF) / "manifest.json"
    service = read_json(trained)["services"]["users"]
    key, timestamp, columns = SHAPES["user_activity"]
    fewer = {name: kind for name, kind in columns.items() if name != "visits"}
    shapes = SHAPES | {"user_activity": (key, timestamp, fewer | {"loyalty": "double"})}
    tables = make_tables(AS_OF)
    loyalty = pa.array([1.5] * tables["user_activity"].num_rows)
    activity = tables["user_activity"].append_column("loyalty", loyalty)
    publish(store, AS_OF, tables | {"user_activity": activity}, "b")
    feature_repo.apply(store, write_manifest(tmp_path / "edited.json", shapes))
    feature_repo.materialize(store, AS_OF)

    states = OnlineStates(store)
    then, now = states.user(USERS[0], service), states.user(USERS[0])
    assert then is not None
    assert now is not None
    assert now["loyalty"] == 1.5
    assert "loyalty" not in then
    assert "visits" not in then  # gone from the mart, and so from what there is to read
    assert {name: now[name] for name in then} == then
    assert read_json(feature_repo.read_offline(store, AS_OF) / "manifest.json")["services"]["users"] != service
    assert states.user(USERS[0], "user_state_of_another_registry") == now


def test_features_are_stale_past_the_time_to_live_of_their_mart(store: Settings, tmp_path: Path) -> None:
    declared = manifest()
    declared["nodes"]["model.zhiyin.users"]["config"]["meta"]["feast"]["ttl_days"] = 30
    path = tmp_path / "edited.json"
    path.write_text(json.dumps(declared))
    publish(store, AS_OF, make_tables(AS_OF), "b")
    feature_repo.apply(store, path)
    feature_repo.materialize(store, AS_OF)
    states = OnlineStates(store)
    assert states.user(USERS[0]) is not None
    assert states.stale(clock(80 + 7).as_of) == []
    assert states.stale(clock(80 + 8).as_of) == ["user_activity", "user_item_repeats"]
    assert states.stale(clock(80 + 31).as_of) == ["user_activity", "user_item_repeats", "users"]


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


@pytest.mark.parametrize("online_store", ["sqlite"], indirect=True)
@pytest.mark.parametrize("feature", ["amount_28d", "repeat_decayed_short", "age_band"])
def test_parity_names_the_user_and_the_column_that_differ(store: Settings, feature: str) -> None:
    with sqlite3.connect(online_path(store)) as connection:
        for (table,) in connection.execute(
            "select name from sqlite_master where type = 'table' and name <> 'zhiyin_token'"
        ).fetchall():
            connection.execute(f"update {table} set value = x'' where feature_name = ?", [feature])
    with pytest.raises(ParityError, match=rf"user user\d\d, column {feature}: online None, offline"):
        feature_repo.verify_parity(store, AS_OF)


def test_a_store_never_materialized_is_one_clear_error(settings: Settings) -> None:
    states = OnlineStates(settings)
    with pytest.raises(OnlineStoreError, match=r"watermarks\.json"):
        states.user(USERS[0])
    assert not settings.features.exists()  # asking makes nothing


@pytest.mark.parametrize("online_store", ["sqlite"], indirect=True)
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
    with pytest.raises(OnlineStoreError, match="does not hold what was materialized; materialize"):
        states.user(USERS[0])

    feature_repo.apply(store, dbt_manifest)
    assert set(feature_repo.materialize(store, AS_OF).values()) == {
        "full"
    }  # the marks of the lost store are not believed
    assert states.user(USERS[0]) is not None


@pytest.mark.parametrize("online_store", ["sqlite"], indirect=True)
def test_readers_do_not_wait_for_the_writer(store: Settings) -> None:
    states = OnlineStates(store)
    writer = sqlite3.connect(online_path(store), isolation_level=None)
    try:
        writer.execute("begin exclusive")
        writer.execute("delete from zhiyin_complete_journey_user_activity")
        row = states.user(USERS[0])
    finally:
        writer.execute("rollback")
        writer.close()
    assert row is not None
    assert row["events_7d"] is not None


def test_a_redis_that_is_down_or_was_flushed_is_one_clear_error(
    settings: Settings, dbt_manifest: Path, tmp_path: Path
) -> None:
    with redis_server(tmp_path) as url:
        settings = filled(settings, dbt_manifest, url)
        states = OnlineStates(settings)
        assert states.user(USERS[0]) is not None
        with Redis.from_url(url) as client:
            client.flushall()
        with pytest.raises(OnlineStoreError, match="does not hold what was materialized"):
            states.user(USERS[0])  # not: unknown
        assert set(feature_repo.materialize(settings, AS_OF).values()) == {"full"}
        assert states.user(USERS[0]) is not None
    with pytest.raises(OnlineStoreError, match="Connection refused"):
        states.user(USERS[0])


def test_datasets_share_a_redis_and_do_not_meet(store: Settings, dbt_manifest: Path) -> None:
    other = store.model_copy(update={"dataset": "another"})
    other = Settings(**other.model_dump())  # paths anew
    publish(other, AS_OF, without(make_tables(AS_OF), USERS[0], "users", "user_activity", "user_item_repeats"), "a")
    feature_repo.apply(other, dbt_manifest)
    feature_repo.materialize(other, AS_OF)
    assert OnlineStates(other).user(USERS[0]) is None
    assert OnlineStates(store).user(USERS[0]) is not None
    expect_parity(store, AS_OF)


@pytest.mark.parametrize("url", ["localhost:6379", "http://localhost"])
def test_an_online_store_that_is_no_redis_url_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="redis://host:port/db"):
        Settings(online_store=url)

"""Serving: the online store holds what training read, follows each materialization, and fails by one clear error.

In SQLite and, where nothing else is said, in a real Redis.
"""

import json
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from feast import FeatureStore, FeatureView
from pydantic import ValidationError
from redis import Redis

import feature_repo
from feature_repo import OnlineStates, OnlineStoreError, ParityError, materialization
from feature_repo.online_store import online_path, online_store
from feature_repo.store import open_store, watermark_path
from tests.features.conftest import filled, redis_server
from tests.features.marts import (
    AS_OF,
    SHAPES,
    START,
    USERS,
    clock,
    histories,
    make_tables,
    manifest,
    publish,
    write_manifest,
)
from zhiyin.clock import Clock
from zhiyin.settings import Settings
from zhiyin.store import read_json

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


def without(tables: dict[str, pa.Table], user: str, *marts: str) -> dict[str, pa.Table]:
    """The tables, with a user erased from some marts."""
    return tables | {mart: tables[mart].filter(pc.not_equal(tables[mart]["user_id"], user)) for mart in marts}


def test_a_user_who_left_one_mart_leaves_its_view(store: Settings, dbt_manifest: Path) -> None:
    publish(store, NEXT, without(make_tables(NEXT), USERS[2], "user_item_repeats"), "b")
    feature_repo.apply(store, dbt_manifest)
    feature_repo.materialize(store, NEXT)
    row = OnlineStates(store).user(USERS[2])
    assert row is not None
    assert row["repeat_item_ids"] is None
    assert row["events_7d"] is not None
    expect_parity(store, NEXT)


def test_an_erased_user_leaves_nothing_behind(store: Settings, dbt_manifest: Path) -> None:
    """Also what no mart holds: the session, the interest vector, and every byte of the pseudonym."""
    person, other = "erased-person", USERS[0]
    schema = histories()["user_activity"].schema
    row = {"user_id": person, "feature_at": START, "events_7d": 1}
    grown = pa.concat_tables([histories()["user_activity"], pa.Table.from_pylist([row], schema=schema)])
    advance(store, dbt_manifest, AS_OF, "b", user_activity=grown)
    vectors = pa.table({"user_id": [person, other], "user_interest": [[0.5, 1.0], [1.5, 2.0]]})
    interest = feature_repo.write_user_interest(store, AS_OF, vectors)
    event = {"item_id": "item001", "category": "A", "event_type": "cart", "amount": 2.0, "occurred_at": AS_OF.as_of}
    sessions = feature_repo.Sessions(store)
    sessions.push(pa.Table.from_pylist([event | {"user_id": person}, event | {"user_id": other}]))
    assert traces(store, person)

    advance(store, dbt_manifest, NEXT, "c")
    assert OnlineStates(store).user(person) is None
    assert not traces(store, person)
    assert pq.read_table(interest)["user_id"].to_pylist() == [other]
    assert sessions.read(other, AS_OF.as_of)["session_item_ids"] == ["item001"]
    expect_parity(store, NEXT)


def test_a_forgotten_user_leaves_every_view_at_once_while_readers_are_open(store: Settings) -> None:
    states, online = OnlineStates(store), online_store(store)
    row = states.user(USERS[1])
    assert states.user(USERS[0]) is not None
    assert online.count(USERS[0]) > 0
    online.erase(USERS[0])
    assert online.count(USERS[0]) == 0
    assert not traces(store, USERS[0])
    assert states.user(USERS[0]) is None
    assert states.user(USERS[1]) == row


@pytest.mark.parametrize("online_store", ["sqlite"], indirect=True)
def test_rows_that_were_dropped_before_leave_no_copy_in_free_space(store: Settings) -> None:
    """Not every build of SQLite overwrites what it deletes, and Feast replaces rows at each materialization."""
    with closing(sqlite3.connect(online_path(store))) as connection, connection:
        connection.execute("pragma secure_delete = off")
        for (table,) in connection.execute("select name from sqlite_master where name like 'zhiyin_comp%'").fetchall():
            if table.endswith(("_users", "_user_activity")):
                connection.execute(f'delete from "{table}" where instr(entity_key, ?)', [USERS[0].encode()])
    online = online_store(store)
    online.erase(USERS[0])
    assert not traces(store, USERS[0])


def traces(settings: Settings, user: str) -> list[str]:
    """Where the online store and the files of features hold a user's id, byte by byte."""
    name = user.encode()
    files = [path for path in settings.features.rglob("*") if path.is_file() and path.suffix != ".parquet"]
    found = [str(path) for path in files if name in path.read_bytes()]
    if settings.online_store:
        with Redis.from_url(settings.online_store) as client:
            found += [str(key) for key in client.scan_iter("*") if name in key]
    return found


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


def test_a_materialization_holds_a_few_rows_at_a_time(
    store: Settings, dbt_manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(materialization, "ROWS", 5)
    monkeypatch.setattr("feature_repo.online_store.CHUNK", 3)
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

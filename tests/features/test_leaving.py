"""Whoever left the marts, or is forgotten, leaves the online store: in SQLite and, mostly, in Redis."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest
from redis import Redis

import feature_repo
from feature_repo import OnlineStates
from feature_repo.online_store import online_path, online_store
from feature_repo.store import open_store
from tests.features.marts import (
    AS_OF,
    SHAPES,
    START,
    USERS,
    histories,
    make_tables,
    publish,
    write_manifest,
)
from tests.features.runs import NEXT, advance, expect_parity, without
from zhiyin.settings import Settings


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
    """Also what no mart holds: the session, and every byte of the pseudonym."""
    person, other = "erased-person", USERS[0]
    schema = histories()["user_activity"].schema
    row = {"user_id": person, "feature_at": START, "events_7d": 1}
    grown = pa.concat_tables([histories()["user_activity"], pa.Table.from_pylist([row], schema=schema)])
    advance(store, dbt_manifest, AS_OF, "b", user_activity=grown)
    event = {"item_id": "item001", "event_type": "cart", "occurred_at": AS_OF.as_of}
    sessions = feature_repo.Sessions(store)
    sessions.push([event | {"user_id": person}, event | {"user_id": other}])
    assert traces(store, person)

    advance(store, dbt_manifest, NEXT, "c")
    assert OnlineStates(store).user(person) is None
    assert not traces(store, person)
    assert sessions.latest(person) is None
    assert session_of(sessions, other) == ["item001"]
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


def session_of(sessions: feature_repo.Sessions, user: str) -> list[str]:
    row = sessions.latest(user)
    assert row is not None
    items: list[str] = row["session_item_ids"]
    return items


def traces(settings: Settings, user: str) -> list[str]:
    """Where the online store and the files of features hold a user's id, byte by byte."""
    name = user.encode()
    files = [path for path in settings.features.rglob("*") if path.is_file() and path.suffix != ".parquet"]
    found = [str(path) for path in files if name in path.read_bytes()]
    if settings.online_store:
        with Redis.from_url(settings.online_store) as client:
            found += [str(key) for key in client.scan_iter("*") if name in key]
    return found


def test_a_mart_that_leaves_the_manifest_leaves_the_store(store: Settings, tmp_path: Path) -> None:
    shapes = {name: shape for name, shape in SHAPES.items() if name != "users"}
    assert "users" not in feature_repo.apply(store, write_manifest(tmp_path / "edited.json", shapes))
    assert "users" not in [view.name for view in open_store(store).list_feature_views()]
    feature_repo.materialize(store, AS_OF)
    row = OnlineStates(store).user(USERS[1])
    assert row is not None
    assert "age_band" not in row

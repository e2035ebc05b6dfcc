"""Encryption at rest: what is written cannot be read without the key, and all that reads goes on with it."""

import json
import re
import shutil
import sqlite3
from pathlib import Path

import duckdb
import pytest

import feature_repo
from feature_repo.online import OnlineStates, OnlineStoreError
from pipeline.erasure import erasure_of
from pipeline.key_rotation import rotate
from pipeline.steps import run_step
from tests.data.homes import WITHOUT_TESTS
from zhiyin.clock import Clock
from zhiyin.contract import USER_ID
from zhiyin.landing import land
from zhiyin.settings import Settings
from zhiyin.store import encryption
from zhiyin.store.encryption import LockedError, seal, unseal
from zhiyin.store.sql import connect, open_database, read_table, rows_of, same_rows, schema_of, write_table
from zhiyin.warehouse import build, current, publish

AS_OF = Clock.parse("1998-04-23")
KEY, OTHER = "ab" * 32, "cd" * 32
NOTHING_SET = ("ZHIYIN_ENCRYPTION_KEY", "ZHIYIN_ENCRYPTION_KEY_FILE", "ZHIYIN_ENCRYPTION_KEY_COMMAND")


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    # DuckDB's extension httpfs is not at hand for this DuckDB, so its own module encrypts.
    monkeypatch.setenv("ZHIYIN_ENCRYPTION_MODULE", "builtin")
    monkeypatch.setenv("ZHIYIN_ENCRYPTION_KEY", KEY)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A lake, a warehouse, marts, states and an online store of 40 users, encrypted."""
    home = tmp_path_factory.mktemp("home")
    settings = Settings(home=home, dataset="movielens_100k", user_sample=40, memory_limit="1GB")  # type: ignore[call-arg]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZHIYIN_ENCRYPTION_MODULE", "builtin")
        patch.setenv("ZHIYIN_ENCRYPTION_KEY", KEY)
        land(settings, AS_OF)
        build(settings, AS_OF, *WITHOUT_TESTS)
        publish(settings, AS_OF)
        feature_repo.apply(settings)
        feature_repo.materialize(settings, AS_OF)
        feature_repo.read_offline(settings, AS_OF)
        assert feature_repo.verify_parity(settings, AS_OF, n=10) == 10
    return settings


@pytest.fixture
def home(made: Settings, tmp_path: Path) -> Settings:
    """A copy of it to change; the paths of Feast's registry and of states lead into it."""
    shutil.copytree(made.home, tmp_path / "home")
    return Settings(**made.model_dump() | {"home": tmp_path / "home"})  # a copy of the object remembers the old paths


def users(settings: Settings) -> list[str]:
    return sorted(read_table(current(settings).path("users"), columns=[USER_ID])[USER_ID].to_pylist())


def test_no_person_and_no_title_can_be_read_in_the_bytes(made):
    titles = read_table(current(made).path("items"), columns=["title"])["title"].to_pylist()
    words = [*users(made), *sorted(title for title in titles if len(title) > 12)[:40], USER_ID]
    assert len(words) > 60
    known = re.compile(b"|".join(re.escape(word.encode()) for word in words))
    files = [*made.lake.rglob("*.parquet"), *made.marts.rglob("*.parquet"), *made.states.rglob("*.parquet")]
    for path in [*files, made.warehouse]:
        assert not known.search(path.read_bytes()), path
    assert len(files) > 100


def test_values_of_the_online_store_are_sealed(made):
    with sqlite3.connect(made.features / "online.db") as connection:
        tables = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
        rows = [
            row
            for table in tables
            if table.startswith("zhiyin_movielens")
            for row in connection.execute(f'select value, value_text from "{table}"')
        ]
    state = OnlineStates(made).user(users(made)[0])
    item = next(value[0] for value in state.values() if isinstance(value, list) and value)
    assert len(rows) > 1000
    assert not any(text for _, text in rows)
    assert not any(str(item).encode() in value for value, _ in rows if len(value) < 2)
    assert all(len(value) > 12 + 16 for value, _ in rows)  # nonce and tag


def test_a_value_cannot_take_the_place_of_another():
    sealed = seal(b"liked", b"user 1")
    assert unseal(sealed, b"user 1") == b"liked"
    assert seal(b"liked", b"user 1") != sealed
    with pytest.raises(LockedError):
        unseal(sealed, b"user 2")


@pytest.mark.parametrize("set_to", [None, OTHER], ids=["no key", "another key"])
def test_without_the_key_every_reader_refuses(made, monkeypatch, set_to):
    a_user = users(made)[0]
    mart, lake = current(made).path("users"), next(made.lake.rglob("part-0.parquet"))
    if set_to is None:
        monkeypatch.delenv("ZHIYIN_ENCRYPTION_KEY")
    else:
        monkeypatch.setenv("ZHIYIN_ENCRYPTION_KEY", set_to)
    told = "no key is set" if set_to is None else "not the one of"
    with pytest.raises(LockedError, match=told):
        current(made)
    for step in ("land", "build", "publish", "features", "train"):
        with pytest.raises(LockedError, match=told):
            run_step(step, made, AS_OF)
    with pytest.raises(LockedError, match=told):
        erasure_of(made, "1")
    with pytest.raises(OnlineStoreError):
        OnlineStates(made).user(a_user)
    with pytest.raises((LockedError, duckdb.Error)):
        open_database(made.warehouse, read_only=True)
    for path in (mart, lake):
        with pytest.raises(duckdb.Error), connect() as connection:
            connection.execute(f"select * from read_parquet('{path}')").fetchall()


def test_landing_and_publishing_again_change_nothing(home, monkeypatch):
    marts = current(home).version
    written = {path: path.stat().st_mtime_ns for path in home.lake.rglob("*.parquet")}
    for listed in home.lake.glob("*/_landed.json"):  # a source that changed: every day is read and compared again
        landed = json.loads(listed.read_text())
        for entry in landed["files"].values():
            entry["origin"] = "another delivery"
        listed.write_text(json.dumps(landed))
    assert all(table["written"] == 0 for table in land(home, AS_OF).values())
    assert {path: path.stat().st_mtime_ns for path in home.lake.rglob("*.parquet")} == written
    monkeypatch.setattr("zhiyin.warehouse.marts._is_whole", lambda version: False)
    assert publish(home, AS_OF).name == marts


def test_forget_sees_through_the_encryption_and_proves(home):
    with connect() as connection:
        table = f"read_parquet('{home.lake}/people/part-0.parquet')"
        (user,) = connection.execute(f'select min("user_id:token") from {table}').fetchall()[0]
    erasure = erasure_of(home, str(user))
    found = erasure.find()
    places = {path.relative_to(home.data).parts[0] for path in found if isinstance(path, Path)}
    assert {"lake", "warehouse.duckdb", "marts", "states", "features"} <= places
    erasure.erase(found)
    assert erasure.find() == {}
    with connect() as connection:
        assert not connection.execute(f"select * from {table} where \"user_id:token\" = '{user}'").fetchall()
    assert all(encryption.is_encrypted(path) for path in home.lake.rglob("*.parquet"))


def test_the_key_of_the_pseudonyms_can_be_changed(home, monkeypatch):
    before = users(home)
    monkeypatch.setattr("pipeline.key_rotation.ANEW", ("build", "publish"))
    monkeypatch.setenv("DBT_EXCLUDE_RESOURCE_TYPES", "test unit_test")
    rotate(home, False, lambda words: None)
    assert len(users(home)) == len(before)
    assert not set(users(home)) & set(before)
    assert all(encryption.is_encrypted(path) for path in home.marts.rglob("*.parquet"))


def test_a_home_is_encrypted_from_the_beginning_or_not_at_all(tmp_path, monkeypatch):
    settings = Settings(home=tmp_path, dataset="movielens_100k", user_sample=10)  # type: ignore[call-arg]
    monkeypatch.delenv("ZHIYIN_ENCRYPTION_KEY")
    land(settings, AS_OF)
    monkeypatch.setenv("ZHIYIN_ENCRYPTION_KEY", KEY)
    with pytest.raises(LockedError, match="landed without encryption"):
        land(settings, AS_OF)


def test_where_the_key_comes_from(tmp_path, monkeypatch):
    file = tmp_path / "key"
    file.write_text(KEY)
    given = encryption.parquet_key()
    monkeypatch.delenv("ZHIYIN_ENCRYPTION_KEY")
    assert encryption.parquet_key() is None

    monkeypatch.setenv("ZHIYIN_ENCRYPTION_KEY_COMMAND", f"cat {file}")
    assert encryption.parquet_key() == given
    monkeypatch.setenv("ZHIYIN_ENCRYPTION_KEY_FILE", str(file))
    with pytest.raises(ValueError, match="set one of"):
        encryption.secret()
    monkeypatch.delenv("ZHIYIN_ENCRYPTION_KEY_COMMAND")
    file.chmod(0o644)
    with pytest.raises(ValueError, match="can be read by other users"):
        encryption.parquet_key()
    file.chmod(0o600)
    assert encryption.parquet_key() == given
    monkeypatch.setenv("ZHIYIN_ENCRYPTION_KEY_COMMAND", "false")
    monkeypatch.delenv("ZHIYIN_ENCRYPTION_KEY_FILE")
    with pytest.raises(ValueError, match="ended with code 1"):
        encryption.secret()
    monkeypatch.delenv("ZHIYIN_ENCRYPTION_KEY_COMMAND")
    monkeypatch.setenv("ZHIYIN_ENCRYPTION_KEY", "a password")
    with pytest.raises(ValueError, match="holds no key"):
        encryption.secret()


def test_steps_refuse_to_write_where_nonces_would_be_weak(made, monkeypatch):
    monkeypatch.setenv("ZHIYIN_ENCRYPTION_MODULE", "openssl")
    encryption._load_openssl.cache_clear()

    def absent(*arguments):
        raise FileNotFoundError("DuckDB's extension httpfs is needed")

    monkeypatch.setattr(encryption, "load_extension", absent)
    with pytest.raises(FileNotFoundError, match="ZHIYIN_ENCRYPTION_MODULE=builtin"):
        run_step("publish", made, AS_OF)


def test_tables_go_to_files_and_back(tmp_path):
    import pyarrow as pa

    table = pa.table({"user_id": ["a", "b"], "rank": [1, 2], "scores": [[0.5], None]})
    for name in ("one", "other"):
        write_table(table, tmp_path / name)
    assert encryption.is_encrypted(tmp_path / "one")
    assert read_table(tmp_path / "one").to_pylist() == table.to_pylist()
    assert read_table(tmp_path / "one", columns=["rank"], equal={"user_id": "b"}).to_pydict() == {"rank": [2]}
    assert schema_of(tmp_path / "one").names == table.schema.names
    assert rows_of(tmp_path / "one") == 2
    assert (tmp_path / "one").read_bytes() != (tmp_path / "other").read_bytes()
    assert same_rows(tmp_path / "one", tmp_path / "other")
    write_table(table.slice(1), tmp_path / "other")
    assert not same_rows(tmp_path / "one", tmp_path / "other")

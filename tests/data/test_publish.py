"""Marts are published whole, named by their content, and a reader never sees half of them."""

import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from tests.data.homes import EARLY, LATE, Warehouse
from zhiyin.clock import Clock
from zhiyin.settings import Settings
from zhiyin.store import verify_manifest
from zhiyin.warehouse import build, current, publish


def test_the_same_days_give_the_same_digest(warehouse: Warehouse) -> None:
    """A build from scratch, with another number of threads, from a lake that also holds later days."""
    assert warehouse.again == warehouse.early


def test_a_version_holds_every_mart_and_its_manifest(warehouse: Warehouse) -> None:
    manifest = verify_manifest(warehouse.marts.folder)
    marts = manifest["rows"]
    assert {"interactions", "items", "users", "user_activity", "item_activity"} <= marts.keys()
    assert set(manifest["files"]) == {f"{mart}.parquet" for mart in marts}
    assert warehouse.marts.version == f"{LATE.date}-{manifest['digest'][:12]}"
    assert warehouse.marts.as_of == LATE.as_of
    assert all(warehouse.marts.path(mart).is_file() for mart in marts)


def test_publishing_again_gives_the_same_version(warehouse: Warehouse) -> None:
    assert publish(warehouse.settings, LATE) == warehouse.marts.folder
    assert current(warehouse.settings) == warehouse.marts


def test_a_byte_flipped_in_a_mart_is_found_on_read_and_mended_by_publishing(warehouse: Warehouse) -> None:
    path = warehouse.marts.path("items")
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    with pytest.raises(ValueError, match=r"items\.parquet is not as it was published; run the step publish"):
        current(warehouse.settings).path("items")
    assert publish(warehouse.settings, LATE) == warehouse.marts.folder
    assert current(warehouse.settings).path("items").read_bytes() == whole


def test_a_publication_that_breaks_off_leaves_the_old_version(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(warehouse.settings.marts.iterdir())

    def die(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("zhiyin.warehouse.marts.write_manifest", die)
    with pytest.raises(OSError, match="disk full"):
        publish(warehouse.settings, LATE)
    assert sorted(warehouse.settings.marts.iterdir()) == before
    assert current(warehouse.settings) == warehouse.marts


def test_marts_of_another_moment_are_not_published(warehouse: Warehouse) -> None:
    with pytest.raises(ValueError, match=r"holds marts as of 2017-07-01 00:00:00, not 2017-05-01"):
        publish(warehouse.settings, EARLY)
    assert current(warehouse.settings) == warehouse.marts


@pytest.fixture
def loyalty(tmp_path: Path) -> tuple[Settings, dict[str, Any]]:
    """A home whose warehouse holds one mart, loyalty, and the node of dbt's manifest that its YAML makes."""
    settings = Settings(home=tmp_path / "home")  # type: ignore[call-arg]
    settings.dbt_target.mkdir(parents=True)
    with duckdb.connect(str(settings.warehouse)) as connection:
        connection.execute(f"""
            create schema increment;
            create table increment.built as select timestamp '{EARLY.date}' as as_of;
            create table loyalty as
            from (values ('v', date '2017-02-01', 2), ('u', date '2017-03-01', 1), ('u', date '2017-01-01', 0))
            as loyalty (user_id, feature_at, level)
        """)
    columns = {name: {} for name in ("user_id", "feature_at", "level")}
    return settings, {"name": "loyalty", "resource_type": "model", "columns": columns}


@pytest.mark.parametrize(
    "meta",
    [
        {"publish": {"order_by": ["user_id", "feature_at"]}},
        {"feast": {"entities": ["user_id"], "timestamp": "feature_at"}},
    ],
)
def test_a_new_mart_is_published_because_its_yaml_says_so(
    loyalty: tuple[Settings, dict[str, Any]], meta: dict[str, Any]
) -> None:
    settings, node = loyalty
    nodes = {"model.zhiyin.loyalty": node | {"config": {"meta": meta}}, "model.zhiyin.other": node | {"config": {}}}
    (settings.dbt_target / "manifest.json").write_text(json.dumps({"nodes": nodes}))
    publish(settings, EARLY)
    assert pq.read_table(current(settings).path("loyalty"))["level"].to_pylist() == [0, 1, 2]


def test_a_mart_that_is_ordered_by_no_column_of_its_own_is_refused(loyalty: tuple[Settings, dict[str, Any]]) -> None:
    settings, node = loyalty
    nodes = {"model.zhiyin.loyalty": node | {"config": {"meta": {"publish": {"order_by": ["user_id", "at"]}}}}}
    (settings.dbt_target / "manifest.json").write_text(json.dumps({"nodes": nodes}))
    with pytest.raises(ValueError, match="loyalty: its YAML has no column at; say config"):
        publish(settings, EARLY)


def test_an_unknown_mart_is_answered_with_those_there_are(warehouse: Warehouse) -> None:
    with pytest.raises(KeyError, match=r"no mart 'prices'.*interactions, .*items"):
        warehouse.marts.path("prices")


def test_a_home_without_data_says_what_is_missing(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")  # type: ignore[call-arg]
    clock = Clock.parse("2017-12-01")
    with pytest.raises(FileNotFoundError, match=r"no marts are published"):
        current(settings)
    with pytest.raises(FileNotFoundError, match="no warehouse"):
        publish(settings, clock)
    with pytest.raises(RuntimeError, match=r"no files match .*_landed.json: nothing is landed"):
        build(settings, clock)

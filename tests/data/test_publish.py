"""Marts are published whole, named by their content, and a reader never sees half of them."""

from pathlib import Path

import pytest

from tests.data.homes import EARLY, LATE, Warehouse
from zhiyin.clock import Clock
from zhiyin.contract import MARTS
from zhiyin.settings import Settings
from zhiyin.store import verify_manifest
from zhiyin.warehouse import build, current, publish


def test_the_same_days_give_the_same_digest(warehouse: Warehouse) -> None:
    """A build from scratch, with another number of threads, from a lake that also holds later days."""
    assert warehouse.again == warehouse.early


def test_a_version_holds_every_mart_and_its_manifest(warehouse: Warehouse) -> None:
    manifest = verify_manifest(warehouse.marts.folder)
    assert set(manifest["files"]) == {f"{mart}.parquet" for mart in MARTS}
    assert warehouse.marts.version == f"{LATE.date}-{manifest['digest'][:12]}"
    assert warehouse.marts.as_of == LATE.as_of
    assert all(warehouse.marts.path(mart).is_file() for mart in MARTS)


def test_publishing_again_gives_the_same_version(warehouse: Warehouse) -> None:
    assert publish(warehouse.settings, LATE) == warehouse.marts.folder
    assert current(warehouse.settings) == warehouse.marts


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


def test_an_unknown_mart_is_answered_with_those_there_are(warehouse: Warehouse) -> None:
    with pytest.raises(KeyError, match=r"no mart 'prices'.*interactions, items"):
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

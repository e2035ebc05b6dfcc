from pathlib import Path

import pytest

import feature_repo
from tests.features.marts import AS_OF, make_tables, publish, write_manifest
from zhiyin.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", memory_limit="1GB")


@pytest.fixture
def dbt_manifest(tmp_path: Path) -> Path:
    return write_manifest(tmp_path / "manifest.json")


@pytest.fixture
def store(settings: Settings, dbt_manifest: Path) -> Settings:
    """A home whose features are applied and materialized as of day 80."""
    publish(settings, AS_OF, make_tables(AS_OF), "a")
    feature_repo.apply(settings, dbt_manifest)
    feature_repo.materialize(settings, AS_OF)
    return settings

"""Households of the real dataset through land, dbt build and publish, once for all tests of the data."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.data.homes import EARLY, LATE, Warehouse
from zhiyin.landing import land
from zhiyin.settings import Settings
from zhiyin.warehouse import build, current, publish


@pytest.fixture(scope="session")
def dbt_target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where dbt writes while the tests run, so that the project's own target stays as it is."""
    target = tmp_path_factory.mktemp("dbt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DBT_TARGET_PATH", str(target))
        patch.setenv("DBT_LOG_PATH", str(target / "logs"))
        yield target


@pytest.fixture(scope="session")
def warehouse(tmp_path_factory: pytest.TempPathFactory, dbt_target: Path) -> Warehouse:
    settings = Settings(home=tmp_path_factory.mktemp("home"), user_sample=60, memory_limit="2GB")  # type: ignore[call-arg]
    land(settings, EARLY)
    build(settings, EARLY)
    early = publish(settings, EARLY)

    land(settings, LATE)
    settings.warehouse.unlink()
    build(settings.model_copy(update={"threads": 1}), EARLY)
    again = publish(settings.model_copy(update={"threads": 1}), EARLY)

    build(settings, LATE)
    publish(settings, LATE)
    return Warehouse(settings, dbt_target, early, again, current(settings))

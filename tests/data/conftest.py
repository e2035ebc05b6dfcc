"""Households of the real dataset through land, dbt build and publish, once for all tests of the data."""

import pytest

from tests.data.homes import EARLY, LATE, WITHOUT_TESTS, Warehouse
from zhiyin.landing import land
from zhiyin.settings import Settings
from zhiyin.warehouse import build, current, publish


@pytest.fixture(scope="session")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """Built three times; the last build, to which the marts of the tests belong, runs dbt's own tests too."""
    settings = Settings(home=tmp_path_factory.mktemp("home"), user_sample=60, memory_limit="2GB")  # type: ignore[call-arg]
    land(settings, EARLY)
    build(settings, EARLY, *WITHOUT_TESTS)
    early = publish(settings, EARLY)

    land(settings, LATE)
    settings.warehouse.unlink()
    build(settings.model_copy(update={"threads": 1}), EARLY, *WITHOUT_TESTS)
    again = publish(settings.model_copy(update={"threads": 1}), EARLY)

    build(settings, LATE)
    publish(settings, LATE)
    return Warehouse(settings, early, again, current(settings))

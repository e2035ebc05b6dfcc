"""What the tests of the service share."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serving.running import Service, borrow, point, ready, serve
from zhiyin import registry


@pytest.fixture(scope="session")
def champion(slice_home: Any) -> tuple[Path, str]:
    """The slice's champion: its bundle and digest."""
    pointer = registry.champion(slice_home.settings)
    assert pointer is not None
    return Path(pointer["bundle"]), pointer["digest"]


@pytest.fixture(scope="session")
def service(slice_home: Any, champion: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests that only ask."""
    settings = borrow(slice_home.settings, tmp_path_factory.mktemp("service"))
    point(settings, *champion)
    with serve(settings) as running:
        running.wait(lambda: ready(running), "a ready service")
        yield running


@pytest.fixture(scope="session")
def shopper(service: Service) -> str:
    """A raw id with plenty of history."""
    users = service.http.get("/page/users").json()["users"]
    return str(users[0]["user_id"])

"""Fixtures of several folders: a real slice of the data, run through the whole platform once per session."""

import os
import re
import socket
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from cli.environment import PATIENT, tool
from zhiyin.settings import Settings

AS_OF = "2017-12-01"
HOUSEHOLDS = 500

os.environ.update(PATIENT)  # read when torch is first imported
os.environ.pop("COLUMNS", None)  # a worker of pytest-xdist has it, and a console of rich reads it once


# Homes that are made once and asked by many files: their fixtures, the one that takes longest first.
SHARED_HOMES = ("slice_home", "warehouse")


@cache
def group_of(file: str) -> str:
    """What a file's tests run together with: those of the same shared home, else those of the file."""
    place = Path(__file__).parent.parent / file
    sources = (place, place.with_name("conftest.py")) if place.parent.name == "serving" else (place,)
    text = "".join(each.read_text() for each in sources)
    return next((home for home in SHARED_HOMES if re.search(rf"\b{home}\b[,:)]", text)), file)


class ByHome(LoadScopeScheduling):
    """Gives a process all tests of a group; pytest-xdist's own groups get lost under pytest 9.2."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid.split("::")[0])


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByHome:
    return ByHome(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest groups come first."""
    place = {home: number for number, home in enumerate(SHARED_HOMES)}
    items.sort(key=lambda item: place.get(group_of(item.nodeid.split("::")[0]), len(place)))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Slice:
    """A finished home: settings to read it with, the environment for processes on it, what the first run printed."""

    settings: Settings
    environment: dict[str, str]
    printed: str

    def zhiyin(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """The command line on this home."""
        return subprocess.run(
            [tool("zhiyin"), *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=check,
            timeout=3000,
        )


@pytest.fixture(scope="session")
def slice_home(tmp_path_factory: pytest.TempPathFactory) -> Slice:
    """Some hundred households through `zhiyin up`: the real scheduler, every task, the service."""
    home = tmp_path_factory.mktemp("slice")
    values = {
        "ZHIYIN_HOME": str(home),
        "ZHIYIN_USER_SAMPLE": str(HOUSEHOLDS),
        "ZHIYIN_AIRFLOW_PORT": str(free_port()),
        "ZHIYIN_SERVICE_PORT": str(free_port()),
        "ZHIYIN_REPORTS_PORT": str(free_port()),
        "ZHIYIN_DOCS_PORT": str(free_port()),
        "ZHIYIN_ENCODER_MINUTES": "0.2",
    }
    slice_ = Slice(
        Settings(**{name.removeprefix("ZHIYIN_").lower(): value for name, value in values.items()}),  # type: ignore[arg-type]
        os.environ | values | {"COLUMNS": "200"},
        "",
    )
    first = slice_.zhiyin("up", "--as-of", AS_OF, "--once", check=False)
    assert first.returncode == 0, first.stdout + first.stderr
    return Slice(slice_.settings, slice_.environment, first.stdout)

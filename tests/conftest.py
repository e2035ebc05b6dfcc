"""Fixtures of several folders: a real slice of the data, run through the whole platform once per session."""

import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from cli.environment import PATIENT, tool
from zhiyin.settings import Settings

AS_OF = "2017-12-01"
HOUSEHOLDS = 500

os.environ.update(PATIENT)  # read when torch is first imported
os.environ.pop("COLUMNS", None)  # a worker of pytest-xdist has it, and a console of rich reads it once


# Homes that are made once and asked by many files.
SHARED_HOMES = ("slice_home", "warehouse")


@pytest.hookimpl(wrapper=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Tests that share a home run in one process, the others file by file; the longest come first."""
    groups: dict[str, list[pytest.Item]] = {home: [] for home in SHARED_HOMES}
    for item in items:
        shared = [home for home in SHARED_HOMES if home in getattr(item, "fixturenames", ())]
        group = shared[0] if shared else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
        groups.setdefault(group, []).append(item)
    items[:] = [item for group in groups.values() for item in group]
    return (yield)


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
            timeout=1200,
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

"""Fixtures of several folders: a real slice of the data, run through the whole platform once per session."""

import os
import socket
import subprocess
from dataclasses import dataclass

import pytest

from cli.environment import PATIENT, tool
from zhiyin.settings import Settings

AS_OF = "2017-12-01"
HOUSEHOLDS = 500

os.environ.update(PATIENT)  # read when torch is first imported


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

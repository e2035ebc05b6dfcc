"""A copy of the project in which onboarding may write, and a home."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import duckdb

from zhiyin.settings import PROJECT


@dataclass(frozen=True)
class Workplace:
    """The copy of the project, and the home."""

    project: Path
    home: Path

    def zhiyin(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        code = os.pathsep.join([str(self.project), str(PROJECT)])
        values = {"PYTHONPATH": code, "ZHIYIN_HOME": str(self.home), "COLUMNS": "200"}
        return subprocess.run(
            [sys.executable, "-c", "from cli.main import main; main()", *arguments],
            env=os.environ | values,
            cwd=self.project,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )

    def warehouse(self, name: str, sql: str) -> list[tuple[object, ...]]:
        with duckdb.connect(str(self.home / name / "warehouse.duckdb"), read_only=True) as connection:
            return connection.execute(sql).fetchall()

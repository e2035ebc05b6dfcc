"""The two moments at which the tests' home publishes, and what it looks like afterwards."""

import importlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cli.environment import tool
from zhiyin.clock import Clock
from zhiyin.settings import Settings
from zhiyin.warehouse import DBT_PROJECT, Marts, dbt_environment, run_environment

# Where builds find the dbt project; as an attribute of the package `build` is the function.
BUILD_MODULE = importlib.import_module("zhiyin.warehouse.build")

# A build on the way to the one that is looked at: its data are tested there.
WITHOUT_TESTS = ("--exclude-resource-type", "test", "--exclude-resource-type", "unit_test")
EARLY, LATE = Clock.parse("2017-05-01"), Clock.parse("2017-07-01")


@dataclass(frozen=True)
class Warehouse:
    """A home whose lake and warehouse stand at ``LATE``, and which published ``EARLY`` twice on the way there."""

    settings: Settings
    early: Path  # published as of EARLY when the lake ended there
    again: Path  # published as of EARLY, built anew from a lake that held the later days too
    marts: Marts  # published as of LATE


def run_unit_tests(settings: Settings, as_of: str, target: Path) -> None:
    """dbt's unit tests of the dataset's models; a build leaves them out: they test the SQL, not the day's data."""
    target.mkdir()
    shutil.copyfile(settings.dbt_target / "partial_parse.msgpack", target / "partial_parse.msgpack")
    environment = os.environ | dbt_environment(settings) | run_environment(Clock.parse(as_of))
    environment.pop("DBT_EXCLUDE_RESOURCE_TYPES")
    command = [tool("dbt"), "test", "--project-dir", str(DBT_PROJECT), "--select", "test_type:unit"]
    done = subprocess.run([*command, "--target-path", str(target)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert re.search(r"ERROR=0 .* TOTAL=[1-9]", done.stdout)

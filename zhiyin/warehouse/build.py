"""Calls of dbt: the environment of its process, builds of the warehouse, and its documentation."""

import logging
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import duckdb

from zhiyin.clock import Clock
from zhiyin.settings import PROJECT, Settings
from zhiyin.store import atomic_file, encryption, temporary
from zhiyin.store.sql import open_database
from zhiyin.warehouse.failures import RUN_RESULTS, explain_failures, explain_warnings
from zhiyin.warehouse.fates import fates

log = logging.getLogger(__name__)

DBT_PROJECT = PROJECT / "dbt_project"


class DbtError(RuntimeError):
    """dbt failed; the message names the models and tests, with some failing rows."""


def dbt_environment(settings: Settings) -> dict[str, str]:
    """Environment of every dbt process: the paths of the data and of the pseudonym key."""
    return {
        "ZHIYIN_HOME": str(settings.home),
        "ZHIYIN_DATASET": settings.dataset,
        "ZHIYIN_LAKE": str(settings.lake),
        "ZHIYIN_WAREHOUSE": str(settings.warehouse),
        # An encrypted file is attached, with its key, by zhiyin/warehouse/plugin.py.
        "ZHIYIN_DBT_DATABASE": ":memory:" if encryption.is_on() else str(settings.warehouse),
        "ZHIYIN_MEMORY_LIMIT": settings.memory_limit,
        "ZHIYIN_THREADS": str(settings.threads),
        "DBT_LOG_PATH": str(settings.run / "dbt"),
        "DBT_LOG_LEVEL_FILE": "info",  # at level debug, dbt's default, logging takes a tenth of a short build
        "DBT_USE_COLORS": "false",
        "DBT_PROFILES_DIR": str(DBT_PROJECT),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DBT_EXCLUDE_RESOURCE_TYPES": "unit_test",  # unit tests test the SQL, not the day's data: `make test` runs them
        "PYTHONPATH": os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")])),
    }


def run_environment(clock: Clock) -> dict[str, str]:
    """Further variables for a dbt command that reads data: the moments of the run."""
    return {"ZHIYIN_AS_OF": clock.date, "ZHIYIN_SNAPSHOTS": snapshot_days(clock)}


def snapshot_days(clock: Clock) -> str:
    """The days of ``clock.snapshots`` as the dbt macro ``snapshots`` reads them: ``2017-11-13,2017-11-17``."""
    return ",".join(moment.strftime("%Y-%m-%d") for moment in clock.snapshots)


def dbt(settings: Settings, *arguments: str, clock: Clock | None = None, target: Path | None = None) -> str:
    """Run a dbt command on the chosen dataset, and return its output.

    ``target``: folder of compiled files, by default ``settings.dbt_target``. A command that reads data needs ``clock``.

    Raises:
        DbtError: it failed.
    """
    settings.warehouse.parent.mkdir(parents=True, exist_ok=True)
    target = target or settings.dbt_target
    (target / RUN_RESULTS).unlink(missing_ok=True)
    command = [str(Path(sys.executable).with_name("dbt")), *arguments]
    command += ["--project-dir", str(DBT_PROJECT), "--target-path", str(target)]
    environment = {**os.environ, **dbt_environment(settings)} | (run_environment(clock) if clock else {})
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        failures = explain_failures(target, settings.warehouse) or done.stdout[-4000:]
        raise DbtError(f"dbt {arguments[0]} failed; the published marts are as they were.\n{failures}")
    return done.stdout


def shell_environment(settings: Settings, clock: Clock, dev: str | None = None) -> dict[str, str]:
    """Variables with which dbt's own commands work in a shell, on the warehouse or on a developer's own file.

    With ``dev``, a name, dbt writes ``settings.dev/<name>/<name>.duckdb`` and reads from the warehouse what is not made
    there; ``state:modified`` compares with the project as the warehouse was built.

    Raises:
        FileNotFoundError: ``dev`` is given, and there is no warehouse to defer to.
        ValueError: ``dev`` is no name of a DuckDB database.
    """
    values = dbt_environment(settings) | run_environment(clock) | {"DBT_PROJECT_DIR": str(DBT_PROJECT)}
    for of_runs_only in ("DBT_EXCLUDE_RESOURCE_TYPES", "DBT_USE_COLORS"):
        values.pop(of_runs_only)
    if dev is None:
        return values | {"DBT_TARGET": "warehouse", "DBT_TARGET_PATH": str(settings.data / "dbt_shell")}
    if not re.fullmatch(r"[a-z][a-z0-9_]*", dev) or dev in ("warehouse", "main", "system", "temp"):
        raise ValueError(f"{dev!r} is no name for a file of one's own: small letters, digits and _, not `warehouse`")
    if not settings.warehouse.is_file():
        raise FileNotFoundError(f"{settings.warehouse}: no warehouse to defer to; run `zhiyin step build` first")
    folder = settings.dev / dev
    folder.mkdir(parents=True, exist_ok=True)
    return values | {
        "ZHIYIN_DEV": dev,
        "ZHIYIN_DEV_WAREHOUSE": str(folder / f"{dev}.duckdb"),
        "ZHIYIN_DBT_DATABASE": ":memory:" if encryption.is_on() else str(folder / f"{dev}.duckdb"),
        "DBT_TARGET": "dev",
        "DBT_TARGET_PATH": str(folder / "dbt"),
        "DBT_DEFER": "true",
        "DBT_STATE": str(settings.dbt_target),
    }


def shell(settings: Settings, clock: Clock, arguments: Sequence[str], dev: str | None = None) -> int:
    """Run a dbt command with a terminal's input and output; return its exit code.

    ``build`` and ``run`` on the warehouse write their manifest where publishing and Feast read it. Other commands leave
    it, so that ``state:modified`` goes on comparing with what was built.
    """
    values = shell_environment(settings, clock, dev)
    if dev is None and arguments[:1] in (["build"], ["run"]):
        values["DBT_TARGET_PATH"] = str(settings.dbt_target)
    settings.data.mkdir(parents=True, exist_ok=True)
    command = [str(Path(sys.executable).with_name("dbt")), *arguments]
    return subprocess.run(command, env={**os.environ, **values}).returncode


def built_as_of(settings: Settings) -> str | None:
    """The day of the last build, YYYY-MM-DD; None where there is none, or while another process writes it."""
    try:
        with open_database(settings.warehouse, read_only=True) as connection:
            return str(connection.execute("select as_of::date::varchar from increment.current").fetchall()[0][0])
    except duckdb.Error:
        return None


def build(settings: Settings, clock: Clock, *arguments: str) -> None:
    """Run ``dbt build`` for ``clock.as_of``, with further dbt ``arguments``.

    The incremental models process what changed in the lake since the last successful build, or are rebuilt without
    one: see ``dbt_project/macros/increments.sql``. The log says which, what became of the events, and what looks odd.

    Raises:
        DbtError: a model or a test failed.
    """
    for line in dbt(settings, "build", *arguments, clock=clock).splitlines():
        if "increment:" in line or "full refresh" in line:
            log.info("%s", line)
    for line in fates(settings):
        log.info("%s", line)
    for told in explain_warnings(settings.dbt_target, settings.warehouse):
        log.warning("%s", told)


def document(settings: Settings, clock: Clock) -> Path:
    """dbt's documentation of every model, column, test and exposure as one page, ``settings.dbt_docs/index.html``.

    Beside it ``lineage.html`` says from which columns each column is made.

    Raises:
        DbtError: dbt could not read the project or the warehouse.
    """
    from zhiyin.warehouse import lineage  # its parser of SQL is not in a bento

    settings.dbt_docs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=temporary("docs"), dir=settings.data) as name:
        dbt(settings, "docs", "generate", "--static", clock=clock, target=Path(name))
        with atomic_file(settings.dbt_docs / "index.html") as made:
            (Path(name) / "static_index.html").replace(made)
        with atomic_file(settings.dbt_docs / lineage.PAGE) as made:
            columns = lineage.write_page(Path(name), made)
        log.info("%d columns have a lineage", columns)
    return settings.dbt_docs / "index.html"

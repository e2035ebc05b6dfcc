"""The warehouse: how dbt is called, and how its marts are published for everyone else.

Only dbt writes the DuckDB file. Everyone else reads a published version of the marts: a folder of Parquet files that
never changes, named by date and digest, to which the text file ``CURRENT`` points.
"""

import logging
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from zhiyin.clock import Clock
from zhiyin.contract import (
    FEATURE_AT,
    INTERACTIONS,
    ITEM_ACTIVITY,
    ITEM_HISTORY,
    ITEM_ID,
    ITEMS,
    OCCURRED_AT,
    RANKING_WINDOWS,
    USER_ACTIVITY,
    USER_CATEGORY_AFFINITY,
    USER_HISTORY,
    USER_ID,
    USER_ITEM_REPEATS,
    USER_OFFERS,
    USER_SEQUENCES,
    USERS,
)
from zhiyin.dbt_failures import RUN_RESULTS, explain_failures
from zhiyin.settings import PROJECT, Settings
from zhiyin.store import MANIFEST, atomic_file, atomic_folder, read_json, write_manifest

log = logging.getLogger(__name__)

DBT_PROJECT = PROJECT / "dbt_project"
CURRENT = "CURRENT"


# The order of the rows in each published file: its grain, and for interactions the order of time.
KEYS: dict[str, tuple[str, ...]] = {
    INTERACTIONS: (USER_ID, OCCURRED_AT, "event_id"),
    ITEMS: (ITEM_ID,),
    USERS: (USER_ID,),
    ITEM_HISTORY: (ITEM_ID, "valid_from"),
    USER_HISTORY: (USER_ID, "valid_from"),
    USER_ACTIVITY: (USER_ID, FEATURE_AT),
    ITEM_ACTIVITY: (ITEM_ID, FEATURE_AT),
    USER_CATEGORY_AFFINITY: (USER_ID, FEATURE_AT),
    USER_ITEM_REPEATS: (USER_ID, FEATURE_AT),
    USER_OFFERS: (USER_ID, FEATURE_AT),
    USER_SEQUENCES: (USER_ID, FEATURE_AT),
}


class DbtError(RuntimeError):
    """dbt failed; the message says which models and which tests, with rows that break their rule."""


class BusyError(RuntimeError):
    """A process is at work on the warehouse; what was asked for needs it alone."""


# Tables that a full refresh keeps, and the condition on the rows that outlive a user.
HISTORIES = {
    "main.int_item_history": "true",
    "main.int_user_history": f"{USER_ID} != $pseudonym",
    "increment.reached": "true",
}


@dataclass(frozen=True)
class Marts:
    """One published version of the marts."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def version(self) -> str:
        return self.folder.name

    @property
    def as_of(self) -> datetime:
        """Events before this moment (UTC) are in the marts."""
        return datetime.fromisoformat(self.manifest["as_of"])

    def path(self, name: str) -> Path:
        """The Parquet file of one mart.

        Raises:
            KeyError: no such mart; the message lists those that are there.
        """
        if name not in self.manifest["rows"]:
            raise KeyError(f"no mart {name!r} in {self.folder}; there are {', '.join(self.manifest['rows'])}")
        return self.folder / f"{name}.parquet"


def connect(settings: Settings) -> duckdb.DuckDBPyConnection:
    """DuckDB in memory, with our threads and memory limit, for reading files; timestamps are UTC."""
    connection = duckdb.connect(config={"threads": settings.threads, "memory_limit": settings.memory_limit})
    connection.execute("set timezone = 'UTC'")
    return connection


def dbt_environment(settings: Settings) -> dict[str, str]:
    """Environment of a dbt process but for ``ZHIYIN_AS_OF``: where the data lies, how the plugin finds its key."""
    return {
        "ZHIYIN_HOME": str(settings.home),
        "ZHIYIN_DATASET": settings.dataset,
        "ZHIYIN_LAKE": str(settings.lake),
        "ZHIYIN_WAREHOUSE": str(settings.warehouse),
        "ZHIYIN_LABEL_DAYS": str(settings.label_days),
        "ZHIYIN_RANKING_WINDOWS": str(RANKING_WINDOWS),
        "ZHIYIN_MEMORY_LIMIT": settings.memory_limit,
        "ZHIYIN_THREADS": str(settings.threads),
        "DBT_LOG_PATH": str(settings.run / "dbt"),
        "DBT_LOG_LEVEL_FILE": "info",  # at debug, dbt's default, writing the log takes a tenth of a short build
        "DBT_USE_COLORS": "false",
        "DBT_PROFILES_DIR": str(DBT_PROJECT),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DBT_EXCLUDE_RESOURCE_TYPES": "unit_test",  # they test the SQL, not the day's data: `make test` runs them
        "PYTHONPATH": os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")])),
    }


def dbt(settings: Settings, *arguments: str, as_of: str = "", target: Path | None = None) -> str:
    """Run a dbt command on the chosen dataset, and return what it says.

    What it compiles goes to ``target``, by default ``settings.dbt_target``; a command that reads data needs ``as_of``
    (YYYY-MM-DD).

    Raises:
        DbtError: it failed.
    """
    settings.warehouse.parent.mkdir(parents=True, exist_ok=True)
    target = target or settings.dbt_target
    (target / RUN_RESULTS).unlink(missing_ok=True)
    command = [str(Path(sys.executable).with_name("dbt")), *arguments]
    command += ["--project-dir", str(DBT_PROJECT), "--target-path", str(target)]
    environment = {**os.environ, **dbt_environment(settings)} | ({"ZHIYIN_AS_OF": as_of} if as_of else {})
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        failures = explain_failures(target, settings.warehouse) or done.stdout[-4000:]
        raise DbtError(f"dbt {arguments[0]} failed; the published marts are as they were.\n{failures}")
    return done.stdout


def build(settings: Settings, clock: Clock, *arguments: str) -> None:
    """Run ``dbt build`` for ``clock.as_of``, with further dbt ``arguments``.

    The incremental models take in what changed in the lake since the last build that succeeded, or are made anew where
    there is none to build on: see ``dbt_project/macros/increments.sql``. The log says which.

    Raises:
        DbtError: a model or a test failed.
    """
    for line in dbt(settings, "build", *arguments, as_of=clock.date).splitlines():
        if "increment:" in line or "full refresh:" in line:
            log.info("%s", line)


def publish(settings: Settings, clock: Clock) -> Path:
    """Export every mart, whole, to a new version under ``settings.marts`` and point ``CURRENT`` at it.

    The version is named by date and content, so publishing the same marts twice gives the same folder.

    Returns:
        The folder of the version: ``<mart>.parquet`` and a manifest with rows and digests.

    Raises:
        FileNotFoundError: there is no warehouse yet.
        ValueError: the warehouse was last built for another ``as_of``, or its last build failed.
    """
    if not settings.warehouse.is_file():
        raise FileNotFoundError(f"{settings.warehouse}: no warehouse; land and run dbt build first")
    settings.marts.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".publish-", dir=settings.marts) as name:
        return publish_folder(settings, Path(name), clock.as_of, _export(settings, clock, Path(name)))


def publish_folder(settings: Settings, exported: Path, as_of: datetime, rows: dict[str, int]) -> Path:
    """Make the marts in a folder beside the versions a version, and point ``CURRENT`` at it."""
    manifest = write_manifest(exported, dataset=settings.dataset, as_of=as_of.isoformat(), rows=rows)
    version = settings.marts / f"{as_of:%Y-%m-%d}-{manifest['digest'][:12]}"
    with atomic_folder(version) as temporary:
        for file in exported.iterdir():
            file.rename(temporary / file.name)
    with atomic_file(settings.marts / CURRENT) as pointer:
        pointer.write_text(version.name + "\n")
    return version


def _export(settings: Settings, clock: Clock, folder: Path) -> dict[str, int]:
    """Write ``<mart>.parquet`` for every mart, ordered by its keys; return the rows of each."""
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        connection.execute(f"set threads = {settings.threads}")
        connection.execute(f"set memory_limit = '{settings.memory_limit}'")
        built = connection.execute("select max(as_of) from increment.built").fetchall()[0][0]
        if built is None:
            raise ValueError(f"{settings.warehouse}: the last dbt build did not end well; run it again")
        if built != clock.as_of.replace(tzinfo=None):
            raise ValueError(f"{settings.warehouse} holds marts as of {built}, not {clock.date}; run dbt build for it")
        rows = {}
        for mart, keys in KEYS.items():
            connection.execute(
                f"copy (select * from {mart} order by {', '.join(keys)}) to '{folder / mart}.parquet'"
                f" {parquet_options(connection, mart)}"
            )
            rows[mart] = int(connection.execute(f"select count(*) from {mart}").fetchall()[0][0])
        return rows


def document(settings: Settings, clock: Clock) -> Path:
    """dbt's documentation of every model, column, test and exposure as one page, ``settings.dbt_docs/index.html``.

    Raises:
        DbtError: dbt could not read the project or the warehouse.
    """
    settings.dbt_docs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".docs-", dir=settings.data) as name:
        dbt(settings, "docs", "generate", "--static", as_of=clock.date, target=Path(name))
        with atomic_file(settings.dbt_docs / "index.html") as temporary:
            (Path(name) / "static_index.html").replace(temporary)
    return settings.dbt_docs / "index.html"


def parquet_options(connection: duckdb.DuckDBPyConnection, relation: str) -> str:
    """How a relation is written: a reader of one key decodes a whole row group, and rows that hold arrays are long."""
    types = connection.execute(f"select column_type from (describe from {relation})").fetchall()
    rows = 2_048 if any(kind.endswith("[]") for (kind,) in types) else 100_000
    return f"(format parquet, compression zstd, row_group_size {rows})"


def current(settings: Settings) -> Marts:
    """The published marts that ``CURRENT`` points at.

    Raises:
        FileNotFoundError: nothing was published yet.
    """
    pointer = settings.marts / CURRENT
    if not pointer.is_file():
        raise FileNotFoundError(f"{pointer}: no marts are published; land, build and publish first")
    folder = settings.marts / pointer.read_text().strip()
    return Marts(folder, read_json(folder / MANIFEST))


def check_idle(settings: Settings) -> None:
    """Raise BusyError when a process reads or writes the warehouse."""
    if settings.warehouse.is_file():
        _lock(settings).close()


def erase_user(settings: Settings, pseudonym: str) -> None:
    """Write the warehouse anew, holding its lock, with nothing but the histories of all but one user.

    What follows from the lake is left out: the next build makes it. What was true when follows from nothing that is
    kept elsewhere. A file of its own, because DuckDB leaves deleted rows in free blocks.

    Raises:
        BusyError: a process reads or writes it.
    """
    if settings.warehouse.is_file():
        with _lock(settings) as old, atomic_file(settings.warehouse) as new:
            new.unlink()
            old.execute(f"attach '{new}' as new")
            tables = "select schema_name || '.' || table_name from duckdb_tables()"
            there = {name for (name,) in old.execute(tables).fetchall()}
            for table in there & set(HISTORIES):
                others = HISTORIES[table].replace("$pseudonym", f"'{pseudonym}'")
                old.execute(f"create schema if not exists new.{table.split('.')[0]}")
                old.execute(f"create table new.{table} as from {table} where {others}")
            old.execute("detach new")
    settings.warehouse.with_name(f"{settings.warehouse.name}.wal").unlink(missing_ok=True)
    shutil.rmtree(settings.warehouse.with_name(f"{settings.warehouse.name}.tmp"), ignore_errors=True)


def _lock(settings: Settings) -> duckdb.DuckDBPyConnection:
    try:
        return duckdb.connect(str(settings.warehouse))
    except duckdb.IOException:
        raise BusyError(
            f"{settings.warehouse} is in use, so a run is in progress; try again when it has ended"
        ) from None

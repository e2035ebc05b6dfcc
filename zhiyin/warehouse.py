"""The warehouse: how dbt is called, and how its marts are published for everyone else.

Only dbt writes the DuckDB file. Everyone else reads a published version of the marts: a folder of Parquet files that
never changes, named by date and digest, to which the text file ``CURRENT`` points.
"""

import logging
import os
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

# Rows that a reader of one key decodes at least: rows that hold arrays are long.
ROW_GROUP, ROW_GROUP_OF_ARRAYS = 100_000, 2_048

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


def dbt_environment(settings: Settings) -> dict[str, str]:
    """Environment of a dbt process but for ``ZHIYIN_AS_OF``: where the data lies, how the plugin finds its key."""
    return {
        "ZHIYIN_HOME": str(settings.home),
        "ZHIYIN_DATASET": settings.dataset,
        "ZHIYIN_LAKE": str(settings.lake),
        "ZHIYIN_WAREHOUSE": str(settings.warehouse),
        "ZHIYIN_LABEL_DAYS": str(settings.label_days),
        "ZHIYIN_MEMORY_LIMIT": settings.memory_limit,
        "ZHIYIN_THREADS": str(settings.threads),
        "DBT_PROFILES_DIR": str(DBT_PROJECT),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DBT_EXCLUDE_RESOURCE_TYPES": "unit_test",  # they test the SQL, not the day's data: `make test` runs them
        "PYTHONPATH": os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")])),
    }


def dbt(settings: Settings, *arguments: str, as_of: str = "") -> str:
    """Run a dbt command on the chosen dataset, and return what it says.

    What it compiles goes to ``settings.dbt_target``; a command that reads data needs ``as_of`` (YYYY-MM-DD).

    Raises:
        DbtError: it failed.
    """
    settings.warehouse.parent.mkdir(parents=True, exist_ok=True)
    (settings.dbt_target / RUN_RESULTS).unlink(missing_ok=True)
    command = [str(Path(sys.executable).with_name("dbt")), *arguments]
    command += ["--project-dir", str(DBT_PROJECT), "--target-path", str(settings.dbt_target)]
    environment = {**os.environ, **dbt_environment(settings)} | ({"ZHIYIN_AS_OF": as_of} if as_of else {})
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        failures = explain_failures(settings.dbt_target, settings.warehouse) or done.stdout[-4000:]
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
        exported = Path(name)
        rows = _export(settings, clock, exported)
        manifest = write_manifest(exported, dataset=settings.dataset, as_of=clock.as_of.isoformat(), rows=rows)
        version = settings.marts / f"{clock.date}-{manifest['digest'][:12]}"
        with atomic_folder(version) as temporary:
            for file in exported.iterdir():
                file.rename(temporary / file.name)
    with atomic_file(settings.marts / CURRENT) as temporary:
        temporary.write_text(version.name + "\n")
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
            types = connection.execute(f"select column_type from (describe {mart})").fetchall()
            group = ROW_GROUP_OF_ARRAYS if any(kind.endswith("[]") for (kind,) in types) else ROW_GROUP
            connection.execute(
                f"copy (select * from {mart} order by {', '.join(keys)}) to '{folder / mart}.parquet'"
                f" (format parquet, compression zstd, row_group_size {group})"
            )
            rows[mart] = int(connection.execute(f"select count(*) from {mart}").fetchall()[0][0])
        return rows


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

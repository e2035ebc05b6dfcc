"""Erasure from the warehouse and from the published marts.

Rewriting the warehouse is the only write besides dbt's, made while no other process has the file.
"""

import shutil
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from zhiyin.contract import USER_ID
from zhiyin.erasure.erasable import Found
from zhiyin.erasure.rewrite import copy_without
from zhiyin.erasure.trace import Trace
from zhiyin.settings import Settings
from zhiyin.store import atomic_file, temporary
from zhiyin.store.sql import attach_database, open_database, quote
from zhiyin.warehouse.marts import CURRENT, current, publish_folder


class BusyError(RuntimeError):
    """Another process uses the warehouse, and the operation needs exclusive access."""


# Tables that a full refresh keeps, and the column of users of those that have one.
HISTORIES = {"main.int_item_history": None, "main.int_user_history": USER_ID, "increment.reached": None}


def check_idle(settings: Settings) -> None:
    """Raise BusyError when a process reads or writes the warehouse."""
    if settings.warehouse.is_file():
        _lock(settings).close()


@dataclass(frozen=True)
class Warehouse:
    """The DuckDB file."""

    settings: Settings

    @property
    def places(self) -> tuple[Path, ...]:
        file = self.settings.warehouse
        return file, _beside(self.settings, "wal"), _beside(self.settings, "tmp")

    def find(self, trace: Trace) -> Found:
        return {}

    def erase(self, trace: Trace, files: Collection[Path]) -> None:
        """Rewrite the warehouse, under its lock, with only the history tables, without the rows of the person.

        The next build makes all other tables from the lake. The history tables cannot be rebuilt, so they are copied.
        The result is a new file, because DuckDB leaves deleted rows in free blocks.

        Raises:
            BusyError: a process reads or writes it.
        """
        _keep_histories(self.settings, f"from {{table}} where {USER_ID} != {quote(trace.person.pseudonym)}")


def keep_histories(settings: Settings, renamed: Mapping[str, str]) -> None:
    """Rewrite the warehouse with only the history tables, their users renamed; rows of others are left out.

    Rows that have their new name already stay, so that a second call completes the first.

    Raises:
        BusyError: a process reads or writes it.
    """
    old = [*renamed, *renamed.values()]
    new = [*renamed.values(), *renamed.values()]
    _keep_histories(
        settings,
        f"select history.* replace (renamed.new as {USER_ID}) from {{table}} as history"
        f" inner join renamed on history.{USER_ID} = renamed.old",
        pa.table({"old": pa.array(old, pa.string()), "new": pa.array(new, pa.string())}),
    )


def _keep_histories(settings: Settings, of_users: str, renamed: pa.Table | None = None) -> None:
    """Replace the warehouse by a file with its history tables alone.

    ``of_users``: SQL of the rows of one with users, ``{table}``; it may join ``renamed``.
    """
    if settings.warehouse.is_file():
        with _lock(settings) as old, atomic_file(settings.warehouse) as new:
            new.unlink()
            if renamed is not None:
                old.register("renamed", renamed)
            attach_database(old, new, "new", read_only=False)
            tables = "select schema_name || '.' || table_name from duckdb_tables() where database_name = 'warehouse'"
            there = {name for (name,) in old.execute(tables).fetchall()}
            for table in there & set(HISTORIES):
                rows = of_users.format(table=table) if HISTORIES[table] else f"from {table}"
                old.execute(f"create schema if not exists new.{table.split('.')[0]}")
                old.execute(f"create table new.{table} as {rows}")
            old.execute("detach new")
    _beside(settings, "wal").unlink(missing_ok=True)
    shutil.rmtree(_beside(settings, "tmp"), ignore_errors=True)


def _beside(settings: Settings, suffix: str) -> Path:
    return settings.warehouse.with_name(f"{settings.warehouse.name}.{suffix}")


def _lock(settings: Settings) -> duckdb.DuckDBPyConnection:
    try:
        return open_database(settings.warehouse)
    except duckdb.IOException:
        raise BusyError(
            f"{settings.warehouse} is in use, so a run is in progress; try again when it has ended"
        ) from None


@dataclass(frozen=True)
class DevWarehouses:
    """The files of those who work on the dbt project."""

    settings: Settings

    @property
    def places(self) -> tuple[Path, ...]:
        return (self.settings.dev,)

    def find(self, trace: Trace) -> Found:
        return {}

    def erase(self, trace: Trace, files: Collection[Path]) -> None:
        """Remove the folders that hold the person: a developer makes them again."""
        for name in {path.relative_to(self.settings.dev).parts[0] for path in files}:
            shutil.rmtree(self.settings.dev / name)


@dataclass(frozen=True)
class PublishedMarts:
    """The published versions of the marts."""

    settings: Settings

    @property
    def places(self) -> tuple[Path, ...]:
        return (self.settings.marts,)

    def find(self, trace: Trace) -> Found:
        return {}

    def erase(self, trace: Trace, files: Collection[Path]) -> None:
        """Publish the current marts without the person; remove earlier versions that hold the person."""
        settings = self.settings
        if not (settings.marts / CURRENT).is_file():
            return
        holding = {path.parent for path in files if path.parent.parent == settings.marts}
        marts = current(settings)
        if marts.folder in holding:
            with tempfile.TemporaryDirectory(prefix=temporary("forget"), dir=settings.marts) as name:
                rows = marts.manifest["rows"] | copy_without(trace, marts.folder, Path(name))
                published = publish_folder(settings, Path(name), marts.as_of, rows)
                holding -= {published}
        for folder in holding:
            shutil.rmtree(folder)

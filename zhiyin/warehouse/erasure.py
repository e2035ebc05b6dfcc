"""Erasing a user from the warehouse: the one write that is not dbt's, made while no other process has the file."""

import shutil

import duckdb

from zhiyin.contract import USER_ID
from zhiyin.settings import Settings
from zhiyin.store import atomic_file


class BusyError(RuntimeError):
    """A process is at work on the warehouse; what was asked for needs it alone."""


# Tables that a full refresh keeps, and the condition on the rows that outlive a user.
HISTORIES = {
    "main.int_item_history": "true",
    "main.int_user_history": f"{USER_ID} != $pseudonym",
    "increment.reached": "true",
}


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

"""Erasing a user from the warehouse: the only write besides dbt's, made while no other process has the file."""

import shutil

import duckdb

from zhiyin.contract import USER_ID
from zhiyin.settings import Settings
from zhiyin.store import atomic_file


class BusyError(RuntimeError):
    """Another process uses the warehouse, and the operation needs exclusive access."""


# Tables that a full refresh keeps, and the condition on the rows that remain after the erasure of a user.
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
    """Rewrite the warehouse, under its lock, with only the history tables, without the rows of one user.

    The next build makes all other tables from the lake. The history tables cannot be rebuilt, so they are copied. The
    result is a new file, because DuckDB leaves deleted rows in free blocks.

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

"""DuckDB over files: a connection within the settings' limits, values as literals, how Parquet is written."""

from collections.abc import Mapping
from typing import Any

import duckdb

from zhiyin.settings import Settings


def connect(settings: Settings) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB connection with the threads and memory limit of the settings; timestamps are UTC."""
    connection = duckdb.connect(config={"threads": settings.threads, "memory_limit": settings.memory_limit})
    connection.execute("set timezone = 'UTC'")
    return connection


def quote(value: Any) -> str:
    """A Python value as a DuckDB literal."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{quote(key)}: {quote(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(quote, value)) + "]"
    return "'" + str(value).replace("'", "''") + "'"


def parquet_options(connection: duckdb.DuckDBPyConnection, relation: str) -> str:
    """Options of the Parquet writer: small row groups for rows with arrays, since reading a key decodes a row group."""
    types = connection.execute(f"select column_type from (describe from {relation})").fetchall()
    rows = 2_048 if any(kind.endswith("[]") for (kind,) in types) else 100_000
    return f"(format parquet, compression zstd, row_group_size {rows})"

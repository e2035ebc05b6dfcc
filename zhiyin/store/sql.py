"""DuckDB over files: connections that know the key, values as literals, and Parquet files read and written."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from zhiyin.settings import Settings
from zhiyin.store import encryption
from zhiyin.store.artefacts import json_digest


def connect(settings: Settings | None = None, **config: Any) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB connection with the threads and memory limit of the settings; timestamps are UTC."""
    if settings is not None:
        config = {"threads": settings.threads, "memory_limit": settings.memory_limit} | config
    connection = duckdb.connect(config=config)
    connection.execute("set timezone = 'UTC'")
    encryption.unlock(connection)
    return connection


def open_database(path: Path, *, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    """A connection to a DuckDB file, encrypted where a key is set.

    Raises:
        duckdb.IOException: another process has it.
        LockedError: it is encrypted with another key.
    """
    if not encryption.is_on():
        return duckdb.connect(str(path), read_only=read_only)
    connection = duckdb.connect()
    encryption.unlock(connection)
    name = path.name.lstrip(".").split(".")[0]
    attach_database(connection, path, name, read_only=read_only)
    connection.execute(f'use "{name}"')
    return connection


def attach_database(connection: duckdb.DuckDBPyConnection, path: Path, name: str, *, read_only: bool) -> None:
    """Attach a DuckDB file, encrypted where a key is set, under a name."""
    try:
        connection.execute(f'attach {quote(str(path))} as "{name}"{encryption.attaching(read_only)}')
    except (duckdb.InvalidInputException, duckdb.CatalogException) as error:
        raise encryption.LockedError(f"{path} cannot be opened with the encryption key that is set ({error})") from None


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
    return written(2_048 if any(kind.endswith("[]") for (kind,) in types) else 100_000)


def written(row_group_size: int | None = None, *more: str) -> str:
    """Options of ``copy``, as every Parquet file is written."""
    options = [f"row_group_size {row_group_size}"] * bool(row_group_size) + list(more)
    return f"(format parquet, compression zstd{''.join(', ' + option for option in options)}{encryption.writing()})"


def read_table(
    path: Path | str,
    columns: Sequence[str] | None = None,
    equal: Mapping[str, Any] | None = None,
    dictionaries: Sequence[str] = (),
) -> pa.Table:
    """A Parquet file, plain or encrypted.

    ``equal``: of its rows those that have these values; ``dictionaries``: columns of texts to encode as dictionaries.
    """
    path = Path(path)
    if not encryption.is_encrypted(path):
        filters = [(name, "=", value) for name, value in (equal or {}).items()] or None
        wanted = list(columns) if columns else None
        return pq.read_table(path, columns=wanted, filters=filters, read_dictionary=list(dictionaries) or None)
    names = ", ".join(f'"{name}"' for name in columns) if columns else "*"
    where = " and ".join(f'"{name}" = ${number}' for number, name in enumerate(equal or {}, 2)) or "true"
    with connect() as connection:
        table = connection.sql(
            f"select {names} from read_parquet($1, hive_partitioning := false) where {where}",
            params=[str(path), *(equal or {}).values()],
        ).to_arrow_table()
    for name in dictionaries:
        table = table.set_column(
            table.column_names.index(name), name, table[name].dictionary_encode().unify_dictionaries()
        )
    return table


def write_table(table: pa.Table, path: Path) -> None:
    """Write a Parquet file, encrypted where a key is set."""
    if not encryption.is_on():
        pq.write_table(table, path)
        return
    with connect() as connection:
        connection.register("written", table)
        connection.execute(f"copy (from written) to {quote(str(path))} {written()}")


def schema_of(path: Path) -> pa.Schema:
    """The columns of a Parquet file, plain or encrypted."""
    if not encryption.is_encrypted(path):
        return pq.read_schema(path)
    with connect() as connection:
        rows = f"from read_parquet({quote(str(path))}, hive_partitioning := false) limit 0"
        return connection.sql(rows).to_arrow_table().schema


def rows_of(path: Path, unlocked: duckdb.DuckDBPyConnection | None = None) -> int:
    """Rows of a Parquet file."""
    if not encryption.is_encrypted(path):
        return int(pq.read_metadata(path).num_rows)
    query = f"select count(*) from read_parquet({quote(str(path))})"
    if unlocked is not None:
        return int(unlocked.execute(query).fetchall()[0][0])
    with connect() as connection:
        return rows_of(path, connection)


def same_rows(one: Path, other: Path) -> bool:
    """Whether two encrypted files hold the same columns and rows, though no two of them have the same bytes."""
    if not (encryption.is_encrypted(one) and encryption.is_encrypted(other)):
        return False
    return rows_digest(one) == rows_digest(other)


def rows_digest(path: Path) -> str:
    """A digest of an encrypted file's columns and rows, in any order."""
    rows = f"read_parquet({quote(str(path))}, hive_partitioning := false)"
    with connect() as connection:
        columns = connection.execute(f"describe from {rows}").fetchall()
        # Two hashes of 64 bits: one alone may be equal by chance.
        query = f"select count(*), sum(hash(side)), sum(hash(hash(side), 1)) from {rows} as side"
        return json_digest([str(columns), str(connection.execute(query).fetchall())])

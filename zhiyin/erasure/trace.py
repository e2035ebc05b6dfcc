"""How a person is found in one file, decoded.

Parquet and DuckDB files are searched column by column, SQLite files row by row, and all that is not Parquet byte by
byte as well, free pages included. The pseudonym is looked for everywhere. An identifier such as ``17`` is also that of
an item or a count, so the walk passes over it (the lake's keeper looks for it in the columns of users); one that is
long and no number is looked for in all texts too.
"""

import mmap
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import duckdb

from zhiyin.erasure.person import Person
from zhiyin.store.encryption import PLAIN_READER, is_encrypted
from zhiyin.store.sql import attach_database, quote

TELLING = 8  # characters from which on an identifier that is no number means one person wherever it stands
PARQUET, DUCKDB, SQLITE, TEXT = "parquet", "duckdb", "sqlite", "text"


def parquet(path: Path) -> str:
    """SQL of a Parquet file's rows, encrypted or not, on a connection that has the key."""
    reader = "read_parquet" if is_encrypted(path) else PLAIN_READER
    return f"{reader}({quote(str(path))}, hive_partitioning := false)"


def kind_of(path: Path) -> str:
    """What a file is, by its first bytes: names of temporary files say nothing."""
    with path.open("rb") as file:
        head = file.read(16)
    if head.startswith((b"PAR1", b"PARE")):
        return PARQUET
    if head[8:12] == b"DUCK":
        return DUCKDB
    return SQLITE if head.startswith(b"SQLite format 3") else TEXT


def tables_of(connection: duckdb.DuckDBPyConnection, path: Path) -> Iterator[str]:
    """SQL of each table of a DuckDB file, which is attached meanwhile."""
    attach_database(connection, path, "searched", read_only=True)
    try:
        tables = connection.execute(
            "select schema_name, table_name from duckdb_tables() where database_name = 'searched'"
        ).fetchall()
        yield from (f'searched."{schema}"."{table}"' for schema, table in tables)
    finally:
        connection.execute("detach searched")


@dataclass(frozen=True)
class Trace:
    """A person, and the DuckDB connection through which files are read and written anew."""

    person: Person
    connection: duckdb.DuckDBPyConnection

    @cached_property
    def words(self) -> list[str]:
        """What means the person wherever it stands."""
        user_id = self.person.user_id
        telling = len(user_id) >= TELLING and not user_id.isdigit()
        return [self.person.pseudonym, *([user_id] if telling else [])]

    def count(self, path: Path) -> int:
        """Rows, or mentions, of the person in one file.

        Raises:
            ValueError: the file cannot be read, because it is damaged or because a process writes it.
        """
        rows = 0
        try:
            kind = kind_of(path)
            if kind == PARQUET:
                return self._count(parquet(path))
            if kind == DUCKDB:
                rows = self._duckdb_rows(path)
            elif kind == SQLITE:
                rows = self._sqlite_rows(path)
        except (duckdb.Error, sqlite3.DatabaseError, PermissionError) as error:
            if not path.exists():  # a log or a temporary file that went away meanwhile
                return 0
            raise ValueError(
                f"{path} cannot be read, so nobody can say whom it holds; remove or replace it, and forget again"
                f" ({error})"
            ) from None
        return max(rows, sum(1 for _ in self.mentions(path)))

    def rows_with(self, relation: str, words: list[str]) -> str | None:
        """SQL condition on the rows of a relation in which any column, also inside a list, holds one of some words."""
        columns = self.connection.execute(f"describe select * from {relation}").fetchall()
        texts = ['"' + name.replace('"', '""') + '"' for name, kind, *_ in columns if is_text(kind)]
        terms = [f"coalesce(contains({text}::varchar, {quote(word)}), false)" for text in texts for word in words]
        return " or ".join(terms) or None

    def mentions(self, path: Path) -> Iterator[tuple[int, bytes]]:
        """Where a file's bytes hold the person, and what stands there; an identifier counts only as a whole word."""
        if not path.stat().st_size:
            return
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            for text in self.words:
                word = text.encode()
                place = content.find(word)
                while place >= 0:
                    end = place + len(word)
                    beside = content[max(place - 1, 0) : place] + b" " + content[end : end + 1]
                    if text == self.person.pseudonym or not any(part.isalnum() for part in beside.split(b" ")):
                        yield place, word
                    place = content.find(word, end)

    def _count(self, relation: str) -> int:
        condition = self.rows_with(relation, self.words)
        if condition is None:
            return 0
        return int(self.connection.execute(f"select count(*) from {relation} where {condition}").fetchall()[0][0])

    def _duckdb_rows(self, path: Path) -> int:
        return sum(self._count(table) for table in tables_of(self.connection, path))

    def _sqlite_rows(self, path: Path) -> int:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            tables = connection.execute("select name from sqlite_master where type = 'table'").fetchall()
            rows = 0
            for (table,) in tables:
                columns = [name for _, name, *_ in connection.execute(f'pragma table_info("{table}")').fetchall()]
                terms = [f'instr(cast("{column}" as blob), ?)' for column in columns for _ in self.words]
                values = [word.encode() for _ in columns for word in self.words]
                if terms:
                    query = f'select count(*) from "{table}" where {" or ".join(terms)}'
                    rows += connection.execute(query, values).fetchone()[0]
            return rows


def is_text(kind: str) -> bool:
    return any(name in kind for name in ("VARCHAR", "JSON", "BLOB", "ENUM", "UUID"))

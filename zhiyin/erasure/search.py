"""Where a person is found: every file below the home, decoded.

Parquet and DuckDB files are searched column by column, SQLite files row by row, and all that is not Parquet byte by
byte as well, free pages included. The pseudonym is looked for everywhere. An identifier such as ``17`` is also that of
an item or a count, so it is looked for in the lake's user columns; one that is long and no number, in all texts too.
"""

import mmap
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import duckdb

from zhiyin.landing.datasets import known_datasets, raw_tables
from zhiyin.landing.forgotten import Person, is_person
from zhiyin.landing.source import quote
from zhiyin.landing.table import RawTable
from zhiyin.settings import Settings
from zhiyin.warehouse import connect

TELLING = 8  # characters from which on an identifier that is no number means one person wherever it stands
PARQUET, DUCKDB, SQLITE, TEXT = "parquet", "duckdb", "sqlite", "text"


def search(settings: Settings, person: Person) -> dict[Path, int]:
    """Files that hold the person, and how many rows of each, or in texts how many mentions.

    Files of other datasets are left out: the same identifier means somebody else there.

    Raises:
        ValueError: the dataset's source definition names no column of users, or a file cannot be read, because it is
            damaged or because a process writes it.
    """
    found: dict[Path, int] = {}
    with connect(settings) as connection:
        found |= _lake(connection, settings, person)
        for path in _files(settings):
            try:
                count = count_in(connection, path, person)
            except FileNotFoundError:
                continue
            if count:
                found[path] = max(count, found.get(path, 0))
    return dict(sorted(found.items()))


def _files(settings: Settings) -> Iterator[Path]:
    """Those below the home."""
    others = [settings.home / name for name in known_datasets() if name != settings.dataset]
    for path in sorted(settings.home.rglob("*")):
        if path.is_file() and not path.is_symlink() and not any(path.is_relative_to(other) for other in others):
            yield path


def _lake(connection: duckdb.DuckDBPyConnection, settings: Settings, person: Person) -> dict[Path, int]:
    """Rows of the lake's files in which the user is the person: one query a table, however many files it has."""
    found: dict[Path, int] = {}
    for table in user_tables(settings):
        folder = settings.lake / table.name
        if files := [str(path) for path in sorted(folder.rglob("*.parquet"))]:
            try:
                rows = connection.execute(
                    f"select lake_file, count(*) from read_parquet({quote(files)}, filename = 'lake_file',"
                    f" union_by_name = true, hive_partitioning = false) where {is_person(table, person)} group by all"
                ).fetchall()
            except duckdb.Error as error:
                raise ValueError(f"{folder} cannot be read; land it again, and forget again ({error})") from None
            found |= {Path(file): count for file, count in rows}
    return found


def user_tables(settings: Settings) -> list[RawTable]:
    """The raw tables that say who their users are, by ``meta.land.user``.

    Raises:
        ValueError: none of the dataset's own does.
    """
    tables = [table for table in raw_tables(settings) if table.user]
    if all(table.posted for table in tables):
        raise ValueError(f"{settings.dataset}: no table has meta.land.user; name the column of users in _sources.yml")
    return tables


def count_in(connection: duckdb.DuckDBPyConnection, path: Path, person: Person) -> int:
    """Rows, or mentions, of the person in one file."""
    kind, rows = kind_of(path), 0
    try:
        if kind == PARQUET:
            return _count(connection, parquet(path), person)
        if kind == DUCKDB:
            rows = _duckdb_rows(connection, path, person)
        elif kind == SQLITE:
            rows = _sqlite_rows(path, person)
    except (duckdb.Error, sqlite3.DatabaseError) as error:
        if not path.exists():  # a log or a temporary file that went away meanwhile
            return 0
        raise ValueError(
            f"{path} cannot be read, so nobody can say whom it holds; remove or replace it, and forget again ({error})"
        ) from None
    return max(rows, sum(1 for _ in mentions(path, person)))


def needles(person: Person) -> list[str]:
    """What means the person wherever it stands."""
    telling = len(person.user_id) >= TELLING and not person.user_id.isdigit()
    return [person.pseudonym, *([person.user_id] if telling else [])]


def holds(connection: duckdb.DuckDBPyConnection, relation: str, words: list[str]) -> str | None:
    """SQL condition on the rows of a relation in which any column, also inside a list, holds one of some words."""
    columns = connection.execute(f"describe select * from {relation}").fetchall()
    texts = ['"' + name.replace('"', '""') + '"' for name, kind, *_ in columns if _is_text(kind)]
    terms = [f"coalesce(contains({text}::varchar, {quote(word)}), false)" for text in texts for word in words]
    return " or ".join(terms) or None


def _is_text(kind: str) -> bool:
    return any(name in kind for name in ("VARCHAR", "JSON", "BLOB", "ENUM", "UUID"))


def _count(connection: duckdb.DuckDBPyConnection, relation: str, person: Person) -> int:
    condition = holds(connection, relation, needles(person))
    if condition is None:
        return 0
    return int(connection.execute(f"select count(*) from {relation} where {condition}").fetchall()[0][0])


def _duckdb_rows(connection: duckdb.DuckDBPyConnection, path: Path, person: Person) -> int:
    connection.execute(f"attach {quote(str(path))} as searched (read_only)")
    try:
        tables = connection.execute(
            "select schema_name, table_name from duckdb_tables() where database_name = 'searched'"
        ).fetchall()
        return sum(_count(connection, f'searched."{schema}"."{table}"', person) for schema, table in tables)
    finally:
        connection.execute("detach searched")


def _sqlite_rows(path: Path, person: Person) -> int:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        tables = connection.execute("select name from sqlite_master where type = 'table'").fetchall()
        rows = 0
        for (table,) in tables:
            columns = [name for _, name, *_ in connection.execute(f'pragma table_info("{table}")').fetchall()]
            terms = [f'instr(cast("{column}" as blob), ?)' for column in columns for _ in needles(person)]
            values = [needle.encode() for _ in columns for needle in needles(person)]
            if terms:
                query = f'select count(*) from "{table}" where {" or ".join(terms)}'
                rows += connection.execute(query, values).fetchone()[0]
        return rows


def kind_of(path: Path) -> str:
    """What a file is, by its first bytes: names of temporary files say nothing."""
    with path.open("rb") as file:
        head = file.read(16)
    if head.startswith(b"PAR1"):
        return PARQUET
    if head[8:12] == b"DUCK":
        return DUCKDB
    return SQLITE if head.startswith(b"SQLite format 3") else TEXT


def parquet(path: Path) -> str:
    """SQL of a Parquet file's rows."""
    return f"read_parquet({quote(str(path))}, hive_partitioning = false)"


def mentions(path: Path, person: Person) -> Iterator[tuple[int, bytes]]:
    """Where a file's bytes hold the person, and what stands there; an identifier counts only as a whole word."""
    if not path.stat().st_size:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for needle in needles(person):
            word = needle.encode()
            place = content.find(word)
            while place >= 0:
                end = place + len(word)
                beside = content[max(place - 1, 0) : place] + b" " + content[end : end + 1]
                if needle == person.pseudonym or not any(part.isalnum() for part in beside.split(b" ")):
                    yield place, word
                place = content.find(word, end)

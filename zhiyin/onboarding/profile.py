"""Profile of a source before it is mapped: columns, types, samples, nulls, duplicates."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import duckdb

from zhiyin.landing.source import Files, Source

SAMPLES = 5


@dataclass(frozen=True)
class Column:
    """One column as it was found; ``distinct`` is approximate."""

    name: str
    type: str
    nulls: float  # share of the rows
    distinct: int
    samples: tuple[str, ...]

    @property
    def sql(self) -> str:
        """Its name as SQL: quoted where it must be."""
        plain = self.name.isidentifier() and self.name.islower() and self.name.isascii()
        plain = plain and self.name not in _keywords()
        return self.name if plain else '"' + self.name.replace('"', '""') + '"'


@dataclass(frozen=True)
class Profile:
    """What is in one source."""

    source: Source
    rows: int
    duplicates: int  # rows that another row equals in every column
    columns: tuple[Column, ...]

    def column(self, name: str) -> Column | None:
        return next((column for column in self.columns if column.name == name), None)

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]


@cache
def _keywords() -> frozenset[str]:
    """Words that SQL keeps for itself."""
    with duckdb.connect() as connection:
        words = connection.execute("select keyword_name from duckdb_keywords() where keyword_category != 'unreserved'")
        return frozenset(word for (word,) in words.fetchall())


def typed(source: Source) -> Source:
    """The source with the types that DuckDB finds in a CSV file, for looking at it."""
    if not isinstance(source, Files) or source.kind != "csv":
        return source
    return Files(source.location, source.format, {"all_varchar": False, **source.options})


def connect(*sources: Source) -> duckdb.DuckDBPyConnection:
    """A connection on which the sources can be read."""
    connection = duckdb.connect(config={"threads": 2})
    connection.execute("set timezone = 'UTC'")
    connection.execute("set enable_progress_bar = false")
    for source in sources:
        source.fingerprint()
        source.prepare(connection)
    return connection


def profile(source: Source) -> Profile:
    """Read a source once and profile it.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it cannot be read, or is empty.
    """
    relation = typed(source).relation()
    with connect(source) as connection:
        try:
            summary = _rows(connection, f"from (summarize select * from {relation})")
            rows, different = _rows(
                connection,
                f"select count(*), (select count(*) from (select distinct * from {relation})) from {relation}",
            )[0].values()
        except duckdb.Error as error:
            raise ValueError(f"{source}: cannot be read: {source.explain(error)}") from None
        if not rows:
            raise ValueError(f"{source}: has no rows")
        columns = []
        for row in summary:
            column = Column(row["column_name"], row["column_type"], float(row["null_percentage"]) / 100, 0, ())
            samples = _rows(
                connection,
                f"select distinct {column.sql}::varchar as value from (select {column.sql} from {relation} limit 1000)"
                f" where {column.sql} is not null order by value limit {SAMPLES}",
            )
            values = tuple(str(sample["value"]) for sample in samples)
            columns.append(Column(column.name, column.type, column.nulls, int(row["approx_unique"]), values))
    return Profile(source, rows, rows - different, tuple(columns))


def _rows(connection: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
    cursor = connection.execute(sql, parameters)
    names = [column[0] for column in cursor.description or []]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

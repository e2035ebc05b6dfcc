"""Profile of a source before it is mapped: columns, types, samples, empty values, duplicates, notation of numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import duckdb

from zhiyin.landing.headers import other_columns
from zhiyin.landing.source import Files, Source
from zhiyin.store.sql import quote

SAMPLES = 5
EXACT_ROWS = 2_000_000  # up to here different values are counted, above it estimated
WRITTEN_SHARE = 0.95  # a column holds numbers of a notation when at least this share of its values is written in it
NUMERIC = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL", "UBIGINT", "UINTEGER")

# A number with dots between thousands and a decimal comma, and the other way round: macro written_number.
NOTATIONS = {
    ",": r"[-+]?(\d+|[1-9]\d{0,2}([.]\d{3})+)([,]\d+)?",
    ".": r"[-+]?(\d+|[1-9]\d{0,2}([,]\d{3})+)([.]\d+)?",
}


@dataclass(frozen=True)
class Column:
    """One column as it was found.

    ``decimal``: the sign before the decimals, where the numbers are texts that SQL does not read. ``unclear``: it may
    be either, such as in 1,234.
    """

    name: str
    type: str
    empty: int  # rows
    distinct: int  # estimated where the profile is not exact
    samples: tuple[str, ...]
    decimal: str | None = None
    unclear: bool = False

    @property
    def sql(self) -> str:
        """Its name as SQL: quoted where it must be."""
        plain = self.name.isidentifier() and self.name.islower() and self.name.isascii()
        plain = plain and self.name not in _keywords()
        return self.name if plain else '"' + self.name.replace('"', '""') + '"'

    @property
    def numeric(self) -> bool:
        return self.type.startswith(NUMERIC) or self.decimal is not None or self.unclear


@dataclass(frozen=True)
class Profile:
    """What is in one source."""

    source: Source
    rows: int
    duplicates: int  # rows that another row equals in every column
    columns: tuple[Column, ...]

    @property
    def exact(self) -> bool:
        """Whether different values were counted, not estimated."""
        return self.rows <= EXACT_ROWS

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
    """Read a source and profile it.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it cannot be read, or is empty; or a file of a glob has other columns than the rest.
    """
    relation = typed(source).relation()
    with connect(source) as connection:
        try:
            described = connection.execute(f"describe select * from {relation}").fetchall()
            found = {name: Column(name, kind, 0, 0, ()) for name, kind, *_ in described}
            rows, different = connection.execute(
                f"select count(*), (select count(*) from (select distinct * from {relation})) from {relation}"
            ).fetchall()[0]
            if not rows:
                raise ValueError(f"{source}: has no rows")
            columns = [_look(connection, relation, column, rows) for column in found.values()]
        except duckdb.Error as error:
            told = other_columns(connection, source) or f"cannot be read: {source.explain(error)}"
            raise ValueError(f"{source}: {told}") from None
    options: Mapping[str, Any] = source.options if isinstance(source, Files) else {}
    said = options.get("decimal_separator")
    return Profile(source, rows, rows - different, tuple(_written(column, said) for column in columns))


def _look(connection: duckdb.DuckDBPyConnection, relation: str, column: Column, rows: int) -> Column:
    """The column with its counts, samples, and how its numbers are written."""
    name, count = column.sql, "count(distinct {})" if rows <= EXACT_ROWS else "approx_count_distinct({})"
    matching = [f"count(*) filter (where try_cast({name}::varchar as double) is not null)"]
    matching += [
        f"count(*) filter (where regexp_full_match(trim({name}::varchar), {quote(sign)}))"
        for sign in NOTATIONS.values()
    ]
    wanted = ", ".join(matching) if column.type == "VARCHAR" else "0, 0, 0"
    filled, distinct, plain, comma, dot = connection.execute(
        f"select count({name}), {count.format(name)}, {wanted} from {relation}"
    ).fetchall()[0]
    samples = connection.execute(
        f"select distinct {name}::varchar as value from (select {name} from {relation} limit 1000)"
        f" where {name} is not null order by value limit {SAMPLES}"
    ).fetchall()
    fits = {sign for sign, count in ((",", comma), (".", dot)) if count > plain and count >= WRITTEN_SHARE * filled}
    values = tuple(str(sample) for (sample,) in samples)
    decimal = next(iter(fits)) if len(fits) == 1 else None
    return Column(column.name, column.type, rows - filled, distinct, values, decimal, len(fits) == 2)


def _written(column: Column, said: str | None) -> Column:
    """The column with the decimal sign that the engineer named in place of what was guessed."""
    if said == "," or (said == "." and (column.unclear or column.decimal)):
        return Column(column.name, column.type, column.empty, column.distinct, column.samples, said)
    return column

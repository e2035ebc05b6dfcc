"""Profile of a source before it is mapped: columns, types, samples, empty values, duplicates, notation of numbers."""

from collections.abc import Mapping, Sequence
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
            rows, different = connection.execute(
                f"select count(*), (select count(*) from (select distinct * from {relation})) from {relation}"
            ).fetchall()[0]
            if not rows:
                raise ValueError(f"{source}: has no rows")
            columns = _look(connection, relation, [(name, kind) for name, kind, *_ in described], rows)
        except duckdb.Error as error:
            told = other_columns(connection, source) or f"cannot be read: {source.explain(error)}"
            raise ValueError(f"{source}: {told}") from None
    options: Mapping[str, Any] = source.options if isinstance(source, Files) else {}
    said = options.get("decimal_separator")
    return Profile(source, rows, rows - different, tuple(_written(column, said) for column in columns))


def _look(
    connection: duckdb.DuckDBPyConnection, relation: str, described: Sequence[tuple[str, str]], rows: int
) -> list[Column]:
    """The columns with their counts, samples, and how their numbers are written, in two scans for all of them."""
    columns = [Column(name, kind, 0, 0, ()) for name, kind in described]
    different = "count(distinct {})" if rows <= EXACT_ROWS else "approx_count_distinct({})"
    counts, samples = [], []
    for column in columns:
        name, value = column.sql, f"trim({column.sql}::varchar)"
        matching = [f"try_cast({value} as double) is not null"]
        matching += [f"regexp_full_match({value}, {quote(notation)})" for notation in NOTATIONS.values()]
        counted = [f"count(*) filter (where {one})" for one in matching] if column.type == "VARCHAR" else ["0"] * 3
        counts.append(f"[count({name}), {different.format(name)}, {', '.join(counted)}]")
        distinct = f"list(distinct {name}::varchar) filter (where {name} is not null)"
        samples.append(f"list_slice(list_sort({distinct}), 1, {SAMPLES})")
    found = connection.execute(f"select {', '.join(counts)} from {relation}").fetchall()[0]
    shown = connection.execute(f"select {', '.join(samples)} from (from {relation} limit 1000)").fetchall()[0]
    looked = []
    for column, (filled, distinct_values, plain, comma, dot), values in zip(columns, found, shown, strict=True):
        fits = {sign for sign, count in ((",", comma), (".", dot)) if count > plain and count >= WRITTEN_SHARE * filled}
        decimal = next(iter(fits)) if len(fits) == 1 else None
        texts = tuple(values or ())
        looked.append(
            Column(column.name, column.type, rows - filled, distinct_values, texts, decimal, unclear=len(fits) == 2)
        )
    return looked


def _written(column: Column, said: str | None) -> Column:
    """The column with the decimal sign that the engineer named in place of what was guessed."""
    if said == "," or (said == "." and (column.unclear or column.decimal)):
        return Column(column.name, column.type, column.empty, column.distinct, column.samples, said)
    return column

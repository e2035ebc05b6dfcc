"""Checks of a raw table before it lands: it is readable, has rows, and has the columns that staging reads."""

import duckdb

from zhiyin.landing.headers import other_columns
from zhiyin.landing.source import Files, Source
from zhiyin.landing.table import NO_DAY, RawTable

# Above this share of unreadable values the column is refused; below it, the rows land and dbt quarantines them.
BROKEN_SHARE = 0.05


def day_of(table: RawTable) -> str:
    """SQL of the UTC day of a row; ``NO_DAY`` where it has none that can be read."""
    return f"coalesce(try(({table.day})::date), date '{NO_DAY}')"


def check(connection: duckdb.DuckDBPyConnection, table: RawTable) -> None:
    """Refuse a source that differs from its definition.

    Raises:
        ValueError: the message names source, column, rows and cure.
    """
    relation, where = table.source.relation(), f"{table.source} ({table.name})"
    try:
        columns = connection.execute(f"describe select * from {relation}").fetchall()
        delivered = {name: kind for name, kind, *_ in columns}
        rows = _count(connection, relation)
    except duckdb.Error as error:
        if other := other_columns(connection, table.source):
            raise ValueError(f"{where}: {other}") from None
        broken = _broken_lines(connection, table.source) or f"cannot be read: {table.source.explain(error)}"
        raise ValueError(f"{where}: {broken}; {table.source.cure}") from None
    if not rows and not table.posted:
        raise ValueError(f"{where}: has no rows; deliver it again, or take the table out of the source definition")
    if missing := [name for name in table.columns if name not in delivered]:
        raise ValueError(
            f"{where}: has no column {', '.join(missing)}; it has {', '.join(delivered)}. Rename it there, or change "
            "the source definition and the staging model that reads it"
        )
    for name, wanted in table.columns.items():
        if wanted and delivered[name].lower() != wanted.lower():
            _check_type(connection, table, name, wanted, delivered[name], rows)
    if table.day is not None:
        _check_day(connection, table, where, rows, list(delivered))


def _check_type(
    connection: duckdb.DuckDBPyConnection, table: RawTable, name: str, wanted: str, delivered: str, rows: int
) -> None:
    """Accept values of another type that can be cast; refuse the source when too many cannot."""
    relation, column = table.source.relation(), '"' + name.replace('"', '""') + '"'
    broken = f"{column} is not null and try_cast({column} as {wanted}) is null"
    count, example = connection.execute(
        f"select count(*), any_value({column}::varchar) from {relation} where {broken}"
    ).fetchall()[0]
    if count > BROKEN_SHARE * rows:
        raise ValueError(
            f"{table.source} ({table.name}): {count} of {rows} values of {name} are no {wanted}, such as {example!r} "
            f"(it came as {delivered}); correct the source, or change data_type in the source definition"
        )


def _check_day(
    connection: duckdb.DuckDBPyConnection, table: RawTable, where: str, rows: int, delivered: list[str]
) -> None:
    """Accept rows whose day cannot be read, which staging sets aside; refuse the source when they are too many."""
    try:
        undated = _count(connection, f"{table.source.relation()} where {day_of(table)} = '{NO_DAY}'")
    except duckdb.BinderException:
        raise ValueError(
            f"{where}: day is {table.day}, which its columns do not give; it has {', '.join(delivered)}. Change day in "
            "the source definition"
        ) from None
    if undated > BROKEN_SHARE * rows:
        raise ValueError(
            f"{where}: {undated} of {rows} rows have no day that can be read by {table.day}; correct those rows, or "
            f"the SQL of the moment in the source definition (up to {BROKEN_SHARE:.0%} are set aside)"
        )


def _broken_lines(connection: duckdb.DuckDBPyConnection, source: Source) -> str | None:
    """How many lines of a CSV file cannot be read, and the error of the first; None for another kind of error."""
    if not isinstance(source, Files) or source.kind != "csv":
        return None
    try:
        _count(connection, Files(source.location, source.format, {**source.options, "store_rejects": True}).relation())
        lines, first, wrong = connection.execute(
            "select count(distinct line), min(line), arg_min(error_message, line) from reject_errors"
        ).fetchall()[0]
    except duckdb.Error:
        return None
    return f"{lines} lines cannot be read, the first is line {first}: {wrong}" if lines else None


def _count(connection: duckdb.DuckDBPyConnection, relation: str) -> int:
    return int(connection.execute(f"select count(*) from {relation}").fetchall()[0][0])

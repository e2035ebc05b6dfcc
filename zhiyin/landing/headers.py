"""Files of one glob whose columns differ."""

from collections import Counter

import duckdb

from zhiyin.landing.source import Files, Source


def other_columns(connection: duckdb.DuckDBPyConnection, source: Source) -> str | None:
    """Which file of a glob lacks a column of the others, in one line; None where none does, or it cannot be told."""
    if not isinstance(source, Files) or source.options.get("union_by_name") or len(source.files()) < 2:
        return None
    columns: dict[str, tuple[str, ...]] = {}
    for file in source.files():
        try:
            one = Files(str(file), source.kind, source.options)
            described = connection.execute(f"describe select * from {one.relation()}").fetchall()
        except duckdb.Error:
            return None
        columns[file.name] = tuple(name for name, *_ in described)
    usual, _ = Counter(frozenset(names) for names in columns.values()).most_common(1)[0]
    for name, names in columns.items():
        missing = sorted(usual - set(names))
        if missing:
            more = [column for column in names if column not in usual]
            instead = f", and has {', '.join(more)}, which they do not" if more else ""
            others = sum(set(other) == usual for other in columns.values())
            return (
                f"{name} has no column {', '.join(missing)}, as {others} of {len(columns)} files have{instead}; "
                "deliver it with the same names"
            )
    return None

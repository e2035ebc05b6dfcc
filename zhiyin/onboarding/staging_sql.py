"""Parts of the SQL of staging models: a select list in groups, and columns as texts and numbers."""

from collections.abc import Mapping, Sequence

from zhiyin.onboarding.profile import Column


def select_list(groups: Sequence[tuple[str, Sequence[tuple[str, str]]]]) -> str:
    """A select list in groups of columns: ``expression as name``, or the name alone where they are the same."""
    lines = []
    for title, columns in groups:
        lines.append(f"    -- {title}")
        lines += [f"    {name if sql == name else f'{sql} as {name}'}," for name, sql in columns]
        lines.append("")
    last = max(index for index, line in enumerate(lines) if line.endswith(","))
    lines[last] = lines[last].removesuffix(",")
    return "\n".join(lines[:-1])


def text(columns: Mapping[str, Column], part: str) -> str:
    """A part of the contract as a cleaned text; null where no column has it."""
    return f"{{{{ clean('{escaped(columns[part])}') }}}}" if part in columns else "null::varchar"


def escaped(column: Column) -> str:
    """A column's name inside of a string of Jinja."""
    return quoted(column.sql)


def quoted(sql: str) -> str:
    """SQL inside of a string of Jinja."""
    return sql.replace("\\", "\\\\").replace("'", "\\'")


def number(columns: Mapping[str, Column], part: str, kind: str) -> str:
    """A part of the contract as a number of an SQL type; null where no column has it."""
    if part not in columns:
        return f"null::{kind}"
    written = written_number(columns[part], kind)
    return f"{{{{ {written} }}}}" if written else f"try_cast({columns[part].sql} as {kind})"


def number_argument(column: Column, kind: str) -> str:
    """The same SQL as an argument of a macro."""
    return written_number(column, kind) or f"'{quoted(f'try_cast({column.sql} as {kind})')}'"


def written_number(column: Column, kind: str) -> str | None:
    """The call of the macro that reads numbers such as 1.234,50; None where SQL reads them."""
    return f"written_number('{escaped(column)}', '{kind}', '{column.decimal}')" if column.decimal else None

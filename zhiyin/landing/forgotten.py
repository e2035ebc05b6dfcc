"""The list of those who are not to land again, and how the rows of a raw table are held against it.

The list holds marks, so it tells nobody who was forgotten; only the key finds, for an id that a source delivers,
whether it is one of them.
"""

import duckdb

from zhiyin.erasure.person import Person
from zhiyin.landing.table import RawTable
from zhiyin.pseudonym import load_key, pseudonymise
from zhiyin.settings import Settings
from zhiyin.sql import quote
from zhiyin.store import read_json, write_json


def raw_user(column: str) -> str:
    """SQL of a raw user id in one writing, as ``Person.user_id`` has it; ``column`` is ``meta.land.user``."""
    return rf"trim(regexp_replace(nfc_normalize(({column})::varchar), '\s+', ' ', 'g'))"


def is_person(table: RawTable, person: Person) -> str:
    """SQL condition on the rows of a raw table with users: that they are the person's."""
    user = person.pseudonym if table.posted else person.user_id
    return f"coalesce({raw_user(table.user or 'null')} = {quote(user)}, false)"


def forgotten(settings: Settings) -> list[str]:
    """The marks of all who were forgotten, in the order of the alphabet."""
    return list(read_json(settings.forgotten)) if settings.forgotten.is_file() else []


def remember(settings: Settings, person: Person) -> None:
    """Put a person on the list."""
    write_json(settings.forgotten, sorted({*forgotten(settings), person.mark}))


def not_forgotten(connection: duckdb.DuckDBPyConnection, settings: Settings, table: RawTable, relation: str) -> str:
    """SQL condition on the rows of ``relation`` that may land; those without a user may (staging sets them aside)."""
    marks, column = forgotten(settings), table.user
    if column is None or not marks:
        return "true"
    key = load_key(settings.pseudonym_key)

    def mark(user_id: str) -> str:
        return pseudonymise(key, user_id if table.posted else pseudonymise(key, user_id))

    connection.create_function("mark", mark, ["VARCHAR"], "VARCHAR")
    connection.execute(
        "create temp table forgotten as"
        f" with users as materialized (select distinct {raw_user(column)} as raw_user from {relation})"
        " select raw_user from users where raw_user is not null and list_contains($1, mark(raw_user))",
        [marks],
    )
    return f"coalesce({raw_user(column)} not in (from forgotten), true)"

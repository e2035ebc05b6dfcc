"""Online rows in SQLite, in Feast's own layout: a table per view."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

from feast import FeatureView

from feature_repo.keys import CHUNK, TOKEN, key_of, serialized
from zhiyin.store.encryption import is_on


class SqliteStore:
    """One file in WAL mode, in which readers never wait for the writer."""

    def __init__(self, path: Path, project: str) -> None:
        self._path = path
        self._project = project

    def config(self) -> dict[str, Any]:
        kind = "feature_repo.sealed.SealedSqliteOnlineStore" if is_on() else "sqlite"
        return {"type": kind, "path": str(self._path)}

    def prepare(self) -> str:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path)
        try:
            connection.execute("pragma journal_mode = wal")
            with connection:
                connection.execute(f"create table if not exists {TOKEN} (token text)")
                connection.execute(
                    f"insert into {TOKEN} select ? where not exists (select 1 from {TOKEN})", [uuid4().hex]
                )
            return str(connection.execute(f"select token from {TOKEN}").fetchone()[0])
        finally:
            connection.close()

    def token(self) -> str | None:
        if not self._path.exists():  # SQLite would make an empty one
            return None
        connection = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)
        try:
            if not connection.execute("select 1 from sqlite_master where name = ?", [TOKEN]).fetchone():
                return None
            return str(connection.execute(f"select token from {TOKEN}").fetchone()[0])
        finally:
            connection.close()

    def keys(self, view: FeatureView) -> Iterator[list[str]]:
        connection = sqlite3.connect(self._path)
        try:
            cursor = connection.execute(f'select distinct entity_key from "{self._table(view)}"')
            while rows := cursor.fetchmany(CHUNK):
                yield [key_of(row[0]) for row in rows]
        finally:
            connection.close()

    def remove(self, view: FeatureView, keys: Iterable[str]) -> None:
        connection = sqlite3.connect(self._path)
        try:
            connection.execute("pragma secure_delete = on")  # overwrites freed pages with zeros
            with connection:
                connection.executemany(
                    f'delete from "{self._table(view)}" where entity_key = ?', ([key] for key in serialized(view, keys))
                )
            connection.execute("pragma wal_checkpoint(truncate)")
        finally:
            connection.close()

    def count(self, key: str) -> int:
        if not self._path.exists():
            return 0
        with closing(sqlite3.connect(self._path)) as connection:
            counts = [
                connection.execute(f'select count(*) from "{table}" where instr(entity_key, ?)', [key.encode()])
                for table in self._tables(connection)
            ]
            return sum(cursor.fetchone()[0] for cursor in counts)

    def erase(self, key: str) -> None:
        if not self._path.exists():
            return
        with closing(sqlite3.connect(self._path)) as connection:
            with connection:
                for table in self._tables(connection):
                    connection.execute(f'delete from "{table}" where instr(entity_key, ?)', [key.encode()])
            # Rows that Feast overwrote may have copies in free space: VACUUM writes a file without them.
            connection.execute("vacuum")
            connection.execute("pragma wal_checkpoint(truncate)")

    def _tables(self, connection: sqlite3.Connection) -> list[str]:
        names = connection.execute("select name from sqlite_master where type = 'table'").fetchall()
        return [name for (name,) in names if name.startswith(f"{self._project}_")]

    def _table(self, view: FeatureView) -> str:
        return f"{self._project}_{view.name}"

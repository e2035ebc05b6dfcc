"""Sources of raw tables: files by DuckDB's readers, databases by its ``attach``, others by libraries of their own."""

import importlib.util
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import duckdb

from zhiyin.landing.lakehouse import Delta, Iceberg
from zhiyin.landing.messages import one_line, without_secrets
from zhiyin.landing.topic import Topic
from zhiyin.store import file_digest, json_digest
from zhiyin.store.encryption import PLAIN_READER
from zhiyin.store.extensions import load_extension
from zhiyin.store.sql import quote

PACKAGE = "package:"  # location of a file that an installed package carries
READERS = {"parquet": PLAIN_READER, "csv": "read_csv", "json": "read_json"}
SUFFIXES = {
    ".parquet": "parquet", ".csv": "csv", ".tsv": "csv", ".txt": "csv",
    ".json": "json", ".jsonl": "json", ".ndjson": "json",
}  # fmt: skip
DATABASES = ("postgres", "mysql", "sqlite")
SHOWN_TABLES = 8

# MySQL returns a TIMESTAMP in the session's time zone, by default the server's; and DuckDB reads any TINYINT(1) as a
# boolean.
SESSION: dict[str, dict[str, Any]] = {
    "mysql": {"mysql_session_time_zone": "+00:00", "mysql_tinyint1_as_boolean": False}
}

# A CSV file has no types: its values land as they are written, and staging casts them.
DEFAULTS: dict[str, dict[str, Any]] = {"csv": {"header": True, "all_varchar": True}}


@dataclass(frozen=True)
class Files:
    """Files that DuckDB reads itself; ``location`` is a path, a glob, a URL or ``package:<name>/<path>``.

    ``options`` are those of DuckDB's reader of ``format`` (parquet, csv or json; by default what the suffix says).
    """

    location: str
    format: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    cure: ClassVar[str] = "deliver the file again, whole"

    def __str__(self) -> str:
        return without_secrets(self.location)

    @property
    def path(self) -> str:
        """The location with variables of the environment filled in and a package's folder found.

        Raises:
            FileNotFoundError: no such package.
        """
        location = os.path.expandvars(self.location)
        if not location.startswith(PACKAGE):
            return location
        package, _, path = location.removeprefix(PACKAGE).partition("/")
        return str(_package_folder(package) / path)

    @property
    def remote(self) -> bool:
        return "://" in self.path

    @property
    def kind(self) -> str:
        """Which of DuckDB's readers.

        Raises:
            ValueError: the suffix is unknown.
        """
        path = self.location.partition("?")[0] if "://" in self.location else self.location
        suffixes = [suffix for suffix in Path(path).suffixes if suffix not in (".gz", ".zst")]
        kind = self.format or SUFFIXES.get(suffixes[-1].lower() if suffixes else "")
        if kind not in READERS:
            raise ValueError(f"{self}: not a file of a known kind; give its format: {', '.join(READERS)}")
        return kind

    def definition(self) -> dict[str, Any]:
        """What ``meta.land`` says of it."""
        facts = {"location": self.location, "format": self.format, "options": dict(self.options)}
        return {key: fact for key, fact in facts.items() if fact}

    def relation(self) -> str:
        """SQL of the rows."""
        options = {**DEFAULTS.get(self.kind, {}), **self.options}
        arguments = ", ".join([quote(self.path), *(f"{name} = {quote(value)}" for name, value in options.items())])
        return f"{READERS[self.kind]}({arguments})"

    def prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make the rows readable on a connection."""
        if self.remote:
            load_extension(connection, "httpfs", str(self))

    def explain(self, error: duckdb.Error) -> str:
        """What went wrong in reading it, in one line."""
        return one_line(error, self.location)

    def fingerprint(self) -> str | None:
        """A key that changes with the content; None for a remote file, which must be read to know.

        Raises:
            FileNotFoundError: no file is there.
        """
        if self.remote:
            return None
        files = self.files()
        if not files:
            raise FileNotFoundError(f"{self.path}: not found")
        return json_digest([[file_digest(file) for file in files], self.format, dict(self.options)])

    def files(self) -> list[Path]:
        """The existing files, sorted; none for a remote location."""
        pattern = Path(self.path)
        if pattern.is_file():
            return [pattern]
        return sorted(Path(pattern.anchor or ".").glob(str(pattern.relative_to(pattern.anchor))))


class Log(Files):
    """A log of JSON lines that may not exist yet; ``options`` hold the ``columns``, of which every line has the first.

    A line cut off by a crash lacks that column and is skipped: the service never acknowledged it.
    """

    def relation(self) -> str:
        if self.files():
            return f"(from {super().relation()} where {next(iter(self.options['columns']))} is not null)"
        columns = ", ".join(f"null::{kind} as {name}" for name, kind in self.options["columns"].items())
        return f"(select {columns} where false)"

    def fingerprint(self) -> str | None:
        return super().fingerprint() if self.files() else "nothing yet"


@dataclass(frozen=True)
class Database:
    """A table of a PostgreSQL, MySQL or SQLite database; ``connect`` is a file or a connection string.

    ``table`` may name its schema, ``sales.orders``; put a name with a dot in double quotes.
    """

    kind: str
    connect: str
    table: str

    cure: ClassVar[str] = "see that the server answers, that its user may read the table, and what the table holds"

    def __str__(self) -> str:
        return f"{self.kind}: {self.table}"

    @property
    def alias(self) -> str:
        return f"{self.kind}_{json_digest(self.connect)[:8]}"

    def definition(self) -> dict[str, Any]:
        """What ``meta.land`` says of it."""
        return {"database": {"kind": self.kind, "connect": self.connect, "table": self.table}}

    def relation(self) -> str:
        names = self.table if '"' in self.table else ".".join(f'"{name}"' for name in self.table.split("."))
        return f"{self.alias}.{names}"

    def prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Attach the database, for reading only, and see that the table is there.

        Raises:
            FileNotFoundError: DuckDB's extension or the SQLite file is not there.
            ValueError: the database cannot be reached, or has no such table.
        """
        connect = os.path.expandvars(self.connect)
        if self.kind == "sqlite" and not Path(connect).is_file():
            raise FileNotFoundError(f"{connect}: not found")
        load_extension(connection, self.kind, str(self))
        try:
            for setting, value in SESSION.get(self.kind, {}).items():
                connection.execute(f"set {setting} = {quote(value)}")
            connection.execute(f"attach if not exists {quote(connect)} as {self.alias} (type {self.kind}, read_only)")
        except duckdb.Error as error:
            raise ValueError(f"{self}: cannot be attached: {self.explain(error)}") from None
        try:
            connection.execute(f"select * from {self.relation()} limit 0")
        except duckdb.CatalogException:
            raise ValueError(f"{self}: there is no such table; there are {self._tables(connection)}") from None
        except duckdb.Error as error:
            raise ValueError(f"{self}: cannot be read: {self.explain(error)}; {self.cure}") from None

    def explain(self, error: duckdb.Error) -> str:
        """What went wrong in reading it, in one line; a password in the connection string is not shown."""
        return one_line(error, self.connect)

    def fingerprint(self) -> str | None:
        return None

    def _tables(self, connection: duckdb.DuckDBPyConnection) -> str:
        """Names of some tables that could have been meant."""
        tables = connection.execute(
            "select if(schema_name in ('main', 'public'), '', schema_name || '.') || table_name as name"
            " from duckdb_tables() where database_name = ? and schema_name not in"
            " ('information_schema', 'pg_catalog', 'mysql', 'performance_schema', 'sys')"
            " order by jaro_winkler_similarity(lower(name), lower(?)) desc, name limit ?",
            [self.alias, self.table, SHOWN_TABLES],
        ).fetchall()
        return ", ".join(name for (name,) in tables) or "none that its user sees"


Source = Files | Database | Delta | Iceberg | Topic


def _package_folder(name: str) -> Path:
    """Folder of an installed package, or of one that was only unpacked under the environment's ``share``."""
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.submodule_search_locations:
        return Path(spec.submodule_search_locations[0])
    unpacked = Path(sys.prefix) / "share" / name / name
    if unpacked.is_dir():
        return unpacked
    raise FileNotFoundError(f"package {name} not found; install it (`make setup` does)")

"""Where a raw table lies, and how DuckDB reads it: files by its own readers, databases by ``attach``."""

import importlib.util
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from zhiyin.store import file_digest, json_digest

PACKAGE = "package:"  # location of a file that an installed package carries
READERS = {"parquet": "read_parquet", "csv": "read_csv", "json": "read_json"}
SUFFIXES = {
    ".parquet": "parquet", ".csv": "csv", ".tsv": "csv", ".txt": "csv",
    ".json": "json", ".jsonl": "json", ".ndjson": "json",
}  # fmt: skip
DATABASES = ("postgres", "mysql", "sqlite")

# A CSV file has no types: its values land as they are written, and staging casts them.
DEFAULTS: dict[str, dict[str, Any]] = {"csv": {"header": True, "all_varchar": True}}


def quote(value: Any) -> str:
    """A Python value as a DuckDB literal."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{quote(key)}: {quote(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(quote, value)) + "]"
    return "'" + str(value).replace("'", "''") + "'"


@dataclass(frozen=True)
class Files:
    """Files that DuckDB reads itself; ``location`` is a path, a glob, a URL or ``package:<name>/<path>``.

    ``options`` are those of DuckDB's reader of ``format`` (parquet, csv or json; by default what the suffix says).
    """

    location: str
    format: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.location

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
            ValueError: the suffix tells none.
        """
        suffixes = [suffix for suffix in Path(self.location).suffixes if suffix not in (".gz", ".zst")]
        kind = self.format or SUFFIXES.get(suffixes[-1].lower() if suffixes else "")
        if kind not in READERS:
            raise ValueError(f"{self}: not a file of a known kind; give its format: {', '.join(READERS)}")
        return kind

    def relation(self) -> str:
        """SQL of the rows."""
        options = {**DEFAULTS.get(self.kind, {}), **self.options}
        arguments = ", ".join([quote(self.path), *(f"{name} = {quote(value)}" for name, value in options.items())])
        return f"{READERS[self.kind]}({arguments})"

    def prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make the rows readable on a connection."""
        if self.remote:
            _load(connection, "httpfs", self.location)

    def fingerprint(self) -> str | None:
        """What the content follows from; None where only reading would tell (a remote file).

        Raises:
            FileNotFoundError: no file is there.
        """
        if self.remote:
            return None
        pattern = Path(self.path)
        fixed = pattern if pattern.is_file() else None
        files = [fixed] if fixed else sorted(Path(pattern.anchor or ".").glob(str(pattern.relative_to(pattern.anchor))))
        if not files:
            raise FileNotFoundError(f"{self.path}: not found")
        return json_digest([[file_digest(file) for file in files], self.format, dict(self.options)])


@dataclass(frozen=True)
class Database:
    """A table of a PostgreSQL, MySQL or SQLite database; ``connect`` is a file or a connection string."""

    kind: str
    connect: str
    table: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.table}"  # a connection string may hold a password

    @property
    def alias(self) -> str:
        return f"{self.kind}_{json_digest(self.connect)[:8]}"

    def relation(self) -> str:
        return f"{self.alias}.{self.table}"

    def prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Attach the database, for reading only.

        Raises:
            FileNotFoundError: DuckDB's extension or the SQLite file is not there.
            ValueError: the database cannot be reached.
        """
        connect = os.path.expandvars(self.connect)
        if self.kind == "sqlite" and not Path(connect).is_file():
            raise FileNotFoundError(f"{connect}: not found")
        _load(connection, self.kind, str(self))
        try:
            connection.execute(f"attach if not exists {quote(connect)} as {self.alias} (type {self.kind}, read_only)")
        except duckdb.Error as error:
            raise ValueError(f"{self}: cannot be attached: {str(error).splitlines()[0]}") from None

    def fingerprint(self) -> str | None:
        return None


Source = Files | Database


def _package_folder(name: str) -> Path:
    """Folder of an installed package, or of one that was only unpacked under the environment's ``share``."""
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.submodule_search_locations:
        return Path(spec.submodule_search_locations[0])
    unpacked = Path(sys.prefix) / "share" / name / name
    if unpacked.is_dir():
        return unpacked
    raise FileNotFoundError(f"package {name} not found; install it (`make setup` does)")


def _load(connection: duckdb.DuckDBPyConnection, extension: str, needed_by: str) -> None:
    """Load one of DuckDB's extensions, installing it where it is missing.

    Raises:
        FileNotFoundError: it is not installed and cannot be downloaded; the message says how to bring it.
    """
    try:
        connection.execute(f"install {extension}")
        connection.execute(f"load {extension}")
    except duckdb.Error:
        raise FileNotFoundError(
            f"{needed_by}: DuckDB's extension {extension} is needed, and is neither installed nor can be downloaded; "
            f"run `INSTALL {extension}` once with DuckDB {duckdb.__version__} where the internet is reached and copy "
            "~/.duckdb/extensions, or export the table to Parquet"
        ) from None

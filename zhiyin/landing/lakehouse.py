"""Sources in table formats, Delta Lake and Apache Iceberg: their libraries read them, and DuckDB gets Arrow."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import duckdb

from zhiyin.landing.messages import one_line, without_secrets
from zhiyin.store import json_digest


@dataclass(frozen=True)
class Delta:
    """A Delta table; ``location`` is a folder or a URL, ``options`` those of its storage (of delta-rs)."""

    location: str
    options: Mapping[str, str] = field(default_factory=dict)

    cure: ClassVar[str] = "see that the table is there and whole, and that its storage may be read"

    def __str__(self) -> str:
        return f"delta: {without_secrets(self.location)}"

    def definition(self) -> dict[str, Any]:
        """What ``meta.land`` says of it."""
        return {"delta": {"location": self.location, "options": dict(self.options)}}

    def relation(self) -> str:
        """SQL of the rows."""
        return f"delta_{json_digest(self.location)[:8]}"

    def prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make the rows of the latest version readable on a connection.

        Raises:
            FileNotFoundError: the library is not installed, or no such table.
        """
        connection.register(self.relation(), self._open().to_pyarrow_dataset())

    def explain(self, error: duckdb.Error) -> str:
        """What went wrong in reading it, in one line."""
        return one_line(error, self.location)

    def fingerprint(self) -> str:
        """A key that changes with the content: the table's id and version."""
        table = self._open()
        return json_digest([str(table.metadata().id), table.version()])

    def _open(self) -> Any:
        try:
            from deltalake import DeltaTable
            from deltalake.exceptions import DeltaError, TableNotFoundError
        except ImportError:
            raise _missing(self, "deltalake") from None
        try:
            return DeltaTable(os.path.expandvars(self.location), storage_options=_expanded(self.options))
        except TableNotFoundError:
            raise FileNotFoundError(f"{self}: there is no Delta table") from None
        except (DeltaError, OSError) as error:
            raise ValueError(f"{self}: cannot be read: {_first_line(error)}; {self.cure}") from None


@dataclass(frozen=True)
class Iceberg:
    """An Iceberg table, ``namespace.table``, of a catalogue; ``catalog`` holds the properties that PyIceberg takes."""

    table: str
    catalog: Mapping[str, str]

    cure: ClassVar[str] = "see that the catalogue answers, that its user may read the table, and what the table holds"

    def __str__(self) -> str:
        return f"iceberg: {self.table}"

    def definition(self) -> dict[str, Any]:
        """What ``meta.land`` says of it."""
        return {"iceberg": {"table": self.table, "catalog": dict(self.catalog)}}

    def relation(self) -> str:
        """SQL of the rows."""
        return f"iceberg_{json_digest([self.table, dict(self.catalog)])[:8]}"

    def prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make the rows of the latest snapshot readable on a connection.

        Raises:
            FileNotFoundError: the library is not installed, or no such table.
        """
        connection.register(self.relation(), self._open().scan().to_arrow())

    def explain(self, error: duckdb.Error) -> str:
        """What went wrong in reading it, in one line."""
        return one_line(error, " ".join(self.catalog.values()))

    def fingerprint(self) -> str:
        """A key that changes with the content: the table's id and snapshot."""
        table = self._open()
        snapshot = table.current_snapshot()
        return json_digest([str(table.metadata.table_uuid), snapshot.snapshot_id if snapshot else None])

    def _open(self) -> Any:
        try:
            from pyiceberg.catalog import load_catalog
            from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError
        except ImportError:
            raise _missing(self, "pyiceberg") from None
        try:
            return load_catalog("zhiyin", **_expanded(self.catalog)).load_table(self.table)
        except (NoSuchTableError, NoSuchNamespaceError):
            raise FileNotFoundError(f"{self}: there is no such table in the catalogue") from None
        except Exception as error:  # each kind of catalogue has errors of its own
            raise ValueError(f"{self}: cannot be read: {_first_line(error)}; {self.cure}") from None


def _expanded(options: Mapping[str, str]) -> dict[str, str]:
    return {name: os.path.expandvars(str(value)) for name, value in options.items()}


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return without_secrets(lines[0] if lines else type(error).__name__)


def _missing(source: object, package: str) -> FileNotFoundError:
    return FileNotFoundError(
        f"{source}: is read by the package {package}, which is not installed: pip install {package}"
    )

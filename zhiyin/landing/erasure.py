"""Erasure from the lake: its files are rewritten, and the person is added to the list of erased users."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import duckdb

from zhiyin.erasure.erasable import Found
from zhiyin.erasure.rewrite import without_rows
from zhiyin.erasure.trace import Trace
from zhiyin.landing.datasets import raw_tables
from zhiyin.landing.delivery import LANDED
from zhiyin.landing.forgotten import is_person, remember
from zhiyin.landing.table import RawTable
from zhiyin.settings import Settings
from zhiyin.store import file_digest, read_json, write_json
from zhiyin.store.sql import quote, rows_of


@dataclass(frozen=True)
class Lake:
    """The raw tables of a dataset."""

    settings: Settings

    @property
    def places(self) -> tuple[Path, ...]:
        return (self.settings.lake,)

    def find(self, trace: Trace) -> Found:
        """Rows in which the user is the person: one query a table, however many files it has."""
        found: Found = {}
        for table in self._tables():
            folder = self.settings.lake / table.name
            if files := [str(path) for path in sorted(folder.rglob("*.parquet"))]:
                try:
                    rows = trace.connection.execute(
                        f"select lake_file, count(*) from read_parquet({quote(files)}, filename := 'lake_file',"
                        " union_by_name := true, hive_partitioning := false)"
                        f" where {is_person(table, trace.person)} group by all"
                    ).fetchall()
                except duckdb.Error as error:
                    raise ValueError(f"{folder} cannot be read; land it again, and forget again ({error})") from None
                found |= {Path(file): count for file, count in rows}
        return found

    def erase(self, trace: Trace, files: Collection[Path]) -> None:
        """Rewrite the files that hold the person; their digests change, which tells the next build to take them in."""
        remember(self.settings, trace.person)
        for table in self._tables():
            folder = self.settings.lake / table.name
            landed = read_json(folder / LANDED) if (folder / LANDED).is_file() else {"files": {}}
            for path in files:
                if path.is_relative_to(folder):
                    without_rows(trace, path, is_person(table, trace.person))
            for name, entry in landed["files"].items():  # also files that an interrupted erasure rewrote
                path = folder / name
                if path.is_file() and (digest := file_digest(path)) != entry["sha256"]:
                    entry |= {"rows": rows_of(path), "sha256": digest}
            if landed["files"]:
                write_json(folder / LANDED, landed)

    def _tables(self) -> list[RawTable]:
        """The raw tables that say who their users are, by ``meta.land.user``.

        Raises:
            ValueError: none of the dataset's own does.
        """
        tables = [table for table in raw_tables(self.settings) if table.user]
        if all(table.posted for table in tables):
            raise ValueError(
                f"{self.settings.dataset}: no table has meta.land.user; name the column of users in _sources.yml"
            )
        return tables

"""Writing one raw table to the lake: a file per day, atomically, and only where the content changed."""

import shutil
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb

from zhiyin.clock import Clock
from zhiyin.landing.checks import check, day_of
from zhiyin.landing.delivery import LANDED, check_losses, merge
from zhiyin.landing.forgotten import not_forgotten
from zhiyin.landing.source import Database
from zhiyin.landing.table import ALL_ROWS, NO_DAY, RawTable
from zhiyin.pseudonym import load_key
from zhiyin.settings import Settings
from zhiyin.store import atomic_file, encryption, file_digest, json_digest, read_json, temporary, write_json
from zhiyin.store.sql import connect, rows_of, same_rows, written

PART = "part-0.parquet"
EMPTY = f"day={NO_DAY}/{PART}"  # the file of a table that nothing was posted to yet
FILE_NAMES = "filename_pattern 'part-{i}'"
MAX_OPEN_DAYS = 1000  # days that DuckDB keeps open while it splits a table; fewer would cut a day into several files


@dataclass(frozen=True)
class Landed:
    rows: int
    files: int
    written: int
    unchanged: int
    removed: int = 0

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


def land_table(table: RawTable, settings: Settings, clock: Clock, tables: Sequence[RawTable] = ()) -> Landed:
    """Write the days of ``table`` before ``clock.as_of`` that are not in the lake yet, or differ there.

    Days at or after ``as_of`` that an earlier run landed stay, since every reader filters by its own ``as_of``.
    ``tables``: other tables that the condition on its rows reads.

    Raises:
        FileNotFoundError: the source is missing.
        ValueError: it cannot be read, is empty, lacks a column or holds another type, too many rows have no day, or it
            takes away much of what has landed; the message names source, column, rows and cure. Or the key of the
            pseudonyms cannot be used.
    """
    folder = settings.lake / table.name
    # The inputs of a file's content: while they are equal, the day is not read again.
    sample = None if table.rows == ALL_ROWS else settings.user_sample
    fingerprint = table.source.fingerprint()
    origin = json_digest([fingerprint, table.day, table.rows, table.line]) if fingerprint else None
    entries = _entries(folder, sample)
    whole = {name for name, entry in entries.items() if _holds(folder / name, entry["sha256"])}
    known = {name for name in whole if origin and entries[name]["origin"] == origin}

    settings.lake.mkdir(parents=True, exist_ok=True)
    encryption.write_check(settings)
    load_key(settings)  # no row lands whose user could not be named again
    with tempfile.TemporaryDirectory(prefix=temporary("landing"), dir=settings.lake) as place:
        staging, written = Path(place), 0
        fresh = _split(table, clock, known, staging, settings, (table, *tables))
        if table.delivery == "append":
            fresh = _merge(table, folder, staging, fresh, whole)
        if table.posted and EMPTY not in whole and (EMPTY in entries or not (entries or fresh)):
            fresh |= _nothing(table, staging)
        gone = _gone(table, clock, entries, known | fresh.keys(), whole, settings.accept_loss)
        if not settings.accept_loss:
            check_losses(table, {name: entries[name] for name in whole}, fresh, gone)
        for name, rows in sorted(fresh.items()):
            staged, target = staging / name, folder / name
            digest = file_digest(staged)
            if name in whole and same_rows(target, staged):
                digest = entries[name]["sha256"]
            elif not _holds(target, digest):
                with atomic_file(target) as made:
                    shutil.copyfile(staged, made)
                written += 1
            entries[name] = {"rows": rows, "sha256": digest, "origin": origin}
        for name in gone:
            (folder / name).unlink(missing_ok=True)
            del entries[name]
    if fresh or gone:
        write_json(folder / LANDED, {"user_sample": sample, "files": dict(sorted(entries.items()))})

    seen = [name for name in entries if table.day is None or name < f"day={clock.date}"]
    return Landed(
        rows=sum(entries[name]["rows"] for name in seen),
        files=len(seen),
        written=written,
        unchanged=len(seen) - written,
        removed=len(gone),
    )


def _merge(table: RawTable, folder: Path, staging: Path, fresh: dict[str, int], whole: set[str]) -> dict[str, int]:
    """Merge staged days with those in the lake; return the rows of each. A day that gains nothing stays as it is."""
    rows = {}
    with connect(threads=1) as connection:
        for name in fresh:
            staged, old = staging / name, folder / name
            if name in whole and file_digest(staged) != file_digest(old) and not merge(connection, table, old, staged):
                shutil.copyfile(old, staged)
            rows[name] = rows_of(staged)
    return rows


def _gone(
    table: RawTable,
    clock: Clock,
    entries: dict[str, dict[str, Any]],
    delivered: Collection[str],
    whole: set[str],
    accept_loss: bool,
) -> dict[str, int]:
    """Rows of the landed files that the lake has no longer after this delivery, by name.

    Those are the days before ``as_of`` that a snapshot lacks, and, where a loss is accepted, damaged or missing files.
    """
    lacking = {name: entry["rows"] for name, entry in entries.items() if name not in delivered}
    if table.delivery == "snapshot" and table.day is not None:
        return {name: rows for name, rows in lacking.items() if name < f"day={clock.date}"}
    return {name: rows for name, rows in lacking.items() if accept_loss and name not in whole}


def _nothing(table: RawTable, staging: Path) -> dict[str, int]:
    """Write a day without rows, for dbt to read where nothing was posted yet."""
    (staging / EMPTY).parent.mkdir()
    with connect() as connection:
        connection.execute(f"copy (from {table.source.relation()} where false) to '{staging / EMPTY}' {written()}")
    return {EMPTY: 0}


def _holds(path: Path, sha256: str) -> bool:
    return path.is_file() and file_digest(path) == sha256


def _entries(folder: Path, sample: int | None) -> dict[str, dict[str, Any]]:
    """The files landed so far; a table that holds another sample of users is emptied first."""
    if not (folder / LANDED).is_file():
        return {}
    landed = read_json(folder / LANDED)
    if landed["user_sample"] != sample:
        shutil.rmtree(folder)
        return {}
    files: dict[str, dict[str, Any]] = landed["files"]
    return files


def _split(
    table: RawTable, clock: Clock, known: set[str], staging: Path, settings: Settings, tables: Sequence[RawTable]
) -> dict[str, int]:
    """Write the table's files that are not ``known`` under ``staging``; return their rows by relative name."""
    if table.day is None and PART in known:
        return {}
    with connect(settings, threads=1) as connection:
        connection.execute(f"set partitioned_write_max_open_files = {MAX_OPEN_DAYS}")
        for other in tables:
            other.source.prepare(connection)
        if isinstance(table.source, Database):
            connection.begin()  # the same snapshot is checked and landed, even if the source is written to meanwhile
        check(connection, table)
        source = table.source.relation()
        if table.line:
            source = f"(select *, row_number() over () as {table.line} from {source})"  # one thread: in order
        rows = f"({table.rows}) and {not_forgotten(connection, settings, table, source)}"
        try:
            connection.execute(_copy(table, source, rows, clock, known, staging))
        except duckdb.Error as error:
            raise ValueError(
                f"{table.source} ({table.name}): cannot be landed: {table.source.explain(error)}; {table.source.cure}"
            ) from None
        files = sorted(staging.rglob("*.parquet"))
        if any(file.name != PART for file in files):
            raise RuntimeError(f"{table.source}: a day of {table.name} came in several files; raise MAX_OPEN_DAYS")
        if not files:
            return {}
        return {str(file.relative_to(staging)): rows_of(file, connection) for file in files}


def _copy(table: RawTable, source: str, rows: str, clock: Clock, known: set[str], staging: Path) -> str:
    """SQL that writes the ``rows`` of ``source``: whole, or a folder for each day that is not ``known``."""
    if table.day is None:
        return f"copy (select * from {source} where {rows}) to '{staging / PART}' {written()}"
    day = day_of(table)
    days = ", ".join(f"date '{name[4:14]}'" for name in sorted(known))
    landed = f" and {day} not in ({days})" if days else ""
    return (
        f"copy (select *, {day} as day from {source} where {rows} and {day} < date '{clock.date}'{landed})"
        f" to '{staging}' {written(None, 'partition_by (day)', FILE_NAMES, 'overwrite_or_ignore')}"
    )

"""Files written without a person: Parquet without the rows, texts with the words overwritten."""

import os
import shutil
from pathlib import Path

from zhiyin.erasure.trace import PARQUET, Trace, kind_of, parquet
from zhiyin.store import MANIFEST, atomic_file
from zhiyin.store.sql import parquet_options, quote, rows_of


def without_rows(trace: Trace, path: Path, condition: str | None, target: Path | None = None) -> bool:
    """Write a Parquet file without the rows of a condition, over itself or to ``target``; False: it has none."""
    connection, rows = trace.connection, parquet(path)
    if not condition or not connection.execute(f"select 1 from {rows} where {condition} limit 1").fetchall():
        return False
    with atomic_file(target or path) as temporary:
        options = parquet_options(connection, rows)
        connection.execute(f"copy (from {rows} where not ({condition})) to {quote(str(temporary))} {options}")
    return True


def copy_without(trace: Trace, folder: Path, target: Path) -> dict[str, int]:
    """Copy a folder's files, its Parquet files without the person; the rows of those that changed, by name."""
    rows = {}
    for path in sorted(folder.iterdir()):
        if path.name == MANIFEST:
            continue
        if without_rows(trace, path, condition_on(trace, path), target / path.name):
            rows[path.stem] = rows_of(target / path.name)
        else:
            shutil.copyfile(path, target / path.name)
    return rows


def condition_on(trace: Trace, path: Path) -> str | None:
    """SQL condition on the rows of a Parquet file that name the pseudonym; None: no Parquet file, or no texts in it."""
    return trace.rows_with(parquet(path), [trace.person.pseudonym]) if kind_of(path) == PARQUET else None


def overwrite_words(trace: Trace, path: Path) -> None:
    """Overwrite in a text what names the person; in place, since a server may be appending to the file."""
    with path.open("r+b") as file:
        for place, word in list(trace.mentions(path)):
            os.pwrite(file.fileno(), b"forgotten".ljust(len(word), b"-")[: len(word)], place)
        os.fsync(file.fileno())


def blank_lines(trace: Trace, path: Path) -> None:
    """Overwrite the lines of a log that name the person with blanks, which every reader of JSON lines skips."""
    content = path.read_bytes()
    with path.open("r+b") as file:
        for place, _ in list(trace.mentions(path)):
            start, end = content.rfind(b"\n", 0, place) + 1, content.find(b"\n", place)
            os.pwrite(file.fileno(), b" " * ((end if end >= 0 else len(content)) - start), start)
        os.fsync(file.fileno())

"""How each place is freed of a person.

Order matters. The list comes first, so that an erasure that is cut short is completed by the next call and no landing
brings the person back; then the lake, from which all else follows; then the warehouse, of which the next build makes
all that follows from the lake.
"""

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from zhiyin import warehouse
from zhiyin.erasure.search import PARQUET, TEXT, holds, kind_of, mentions, parquet, user_tables
from zhiyin.landing.forgotten import Person, is_person, remember
from zhiyin.landing.lake import LANDED
from zhiyin.landing.source import quote
from zhiyin.settings import Settings
from zhiyin.store import MANIFEST, atomic_file, atomic_folder, file_digest, read_json, write_json, write_manifest
from zhiyin.warehouse import connect


def erase(settings: Settings, person: Person, found: Iterable[Path]) -> None:
    """Free every file of the person: ``found`` are those that a search named.

    Raises:
        BusyError: a build or a reader has the warehouse; what was erased before stays erased.
    """
    remember(settings, person)
    found = [path for path in found if path.is_file()]
    with connect(settings) as connection:
        _erase_lake(connection, settings, person, found)
        warehouse.erase_user(settings, person.pseudonym)
        # What learned from the person is nothing to go on from: the next encoders begin anew.
        for learned in (settings.encoders, settings.text_towers, settings.ranking_sets):
            shutil.rmtree(learned, ignore_errors=True)
        _erase_marts(connection, settings, person, found)
        for folder in sorted({path.parent for path in found if path.parent.parent == settings.states}):
            _erase_states(connection, folder, person)
        for path in found:
            if path.is_file() and not path.is_relative_to(settings.lake):
                _erase_file(connection, settings, path, person)


def _erase_lake(connection: duckdb.DuckDBPyConnection, settings: Settings, person: Person, found: list[Path]) -> None:
    """Rewrite the files that hold the person; their digests change, which tells the next build to take them in."""
    for table in user_tables(settings):
        folder = settings.lake / table.name
        landed = read_json(folder / LANDED) if (folder / LANDED).is_file() else {"files": {}}
        for path in found:
            if path.is_relative_to(folder):
                _rewrite(connection, path, is_person(table, person))
        for name, entry in landed["files"].items():  # also what an erasure rewrote that was cut short
            path = folder / name
            if path.is_file() and (digest := file_digest(path)) != entry["sha256"]:
                entry |= {"rows": pq.read_metadata(path).num_rows, "sha256": digest}
        if landed["files"]:
            write_json(folder / LANDED, landed)


def _rewrite(connection: duckdb.DuckDBPyConnection, path: Path, condition: str, target: Path | None = None) -> bool:
    """Write a Parquet file without the rows of a condition, over itself or to ``target``; False: it has none."""
    if not connection.execute(f"select 1 from {parquet(path)} where {condition} limit 1").fetchall():
        return False
    with atomic_file(target or path) as temporary:
        options = warehouse.parquet_options(connection, parquet(path))
        connection.execute(f"copy (from {parquet(path)} where not ({condition})) to {quote(str(temporary))} {options}")
    return True


def _without(connection: duckdb.DuckDBPyConnection, folder: Path, person: Person, target: Path) -> dict[str, int]:
    """Copy a folder's files, its Parquet files without the person; the rows of those that changed, by name."""
    rows = {}
    for path in sorted(folder.iterdir()):
        if path.name == MANIFEST:
            continue
        condition = _condition(connection, path, person)
        if condition and _rewrite(connection, path, condition, target / path.name):
            rows[path.stem] = pq.read_metadata(target / path.name).num_rows
        else:
            shutil.copyfile(path, target / path.name)
    return rows


def _condition(connection: duckdb.DuckDBPyConnection, path: Path, person: Person) -> str | None:
    return holds(connection, parquet(path), [person.pseudonym]) if kind_of(path) == PARQUET else None


def _erase_marts(connection: duckdb.DuckDBPyConnection, settings: Settings, person: Person, found: list[Path]) -> None:
    """Publish the current marts without the person, whole as ever; earlier versions that hold the person go."""
    if not (settings.marts / warehouse.CURRENT).is_file():
        return
    holding = {path.parent for path in found if path.parent.parent == settings.marts}
    marts = warehouse.current(settings)
    if marts.folder in holding:
        with tempfile.TemporaryDirectory(prefix=".forget-", dir=settings.marts) as name:
            rows = marts.manifest["rows"] | _without(connection, marts.folder, person, Path(name))
            published = warehouse.publish_folder(settings, Path(name), marts.as_of, rows)
            holding -= {published}
    for folder in holding:
        shutil.rmtree(folder)


def _erase_states(connection: duckdb.DuckDBPyConnection, folder: Path, person: Person) -> None:
    """Replace the states of one moment by those without the person; the manifest still names the marts they are of."""
    manifest = read_json(folder / MANIFEST)
    with atomic_folder(folder, replace=True) as temporary:
        manifest["rows"] |= _without(connection, folder, person, temporary)
        write_manifest(temporary, **{key: fact for key, fact in manifest.items() if key not in ("files", "digest")})


def _erase_file(connection: duckdb.DuckDBPyConnection, settings: Settings, path: Path, person: Person) -> None:
    """Free a file that stands for itself. A text is overwritten in place, since a server may be appending to it."""
    if condition := _condition(connection, path, person):
        _rewrite(connection, path, condition)
    elif not _is_text(settings, path):
        return
    elif path.suffix == ".jsonl":
        _blank_lines(path, person)
    else:
        with path.open("r+b") as file:
            for place, word in list(mentions(path, person)):
                os.pwrite(file.fileno(), b"forgotten".ljust(len(word), b"-")[: len(word)], place)
            os.fsync(file.fileno())


def _is_text(settings: Settings, path: Path) -> bool:
    """Whether a file is neither a database, which its owner writes, nor part of a bundle, which never changes.

    None of these should hold the person by now; the search that ends an erasure would say so.
    """
    database = kind_of(path) != TEXT or path.name.endswith(("-wal", "-shm", "-journal", ".wal"))
    return not (database or path.is_relative_to(settings.bundles) or path.is_relative_to(settings.bentoml))


def _blank_lines(path: Path, person: Person) -> None:
    """Overwrite the lines of a log that name the person with blanks, which every reader of JSON lines skips."""
    content = path.read_bytes()
    with path.open("r+b") as file:
        for place, _ in list(mentions(path, person)):
            start, end = content.rfind(b"\n", 0, place) + 1, content.find(b"\n", place)
            os.pwrite(file.fileno(), b" " * ((end if end >= 0 else len(content)) - start), start)
        os.fsync(file.fileno())

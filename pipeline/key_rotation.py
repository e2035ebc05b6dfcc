"""A new key for the pseudonyms: whatever names users by the old one is renamed, or made anew from the lake.

The lake holds raw ids, so each user's old and new pseudonym is known from there. Renamed are the service's logs, what
of them has landed, the histories of the warehouse and the list of erased users. The rest of the warehouse, the marts
and the online store are made anew by the steps of the pipeline. Models name no user.

The new key lies beside the old one while things are renamed; then it takes its place. A rotation that broke off is
completed by the next call: what is renamed already stays.
"""

import mmap
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb

from pipeline.steps import run_step
from zhiyin.erasure.trace import DUCKDB, PARQUET, is_text, kind_of, parquet, tables_of
from zhiyin.landing import known_datasets, raw_tables, rename_posted
from zhiyin.landing.forgotten import forgotten, raw_user
from zhiyin.pseudonym import keep_key, new_key, next_key, pseudonymise, write_check
from zhiyin.recommender.recipe import run_clock
from zhiyin.settings import Settings
from zhiyin.store import atomic_file, write_json
from zhiyin.store.keys import read_key
from zhiyin.store.sql import connect, quote
from zhiyin.warehouse import CURRENT, current, keep_histories

PSEUDONYM = re.compile(rb"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
ANEW = ("build", "publish", "features")  # the steps that make what follows from the lake


@dataclass(frozen=True)
class Renaming:
    """Old pseudonym -> new pseudonym of the users of one dataset, and the same of the marks of erased users."""

    settings: Settings
    users: dict[str, str]
    marks: dict[str, str]
    unnamed: frozenset[str]  # pseudonyms in the service's logs whose raw id no table has
    lost_marks: int  # erased users of whom no source has the raw id


def rotate(settings: Settings, drop_unnamed: bool, say: Callable[[str], None]) -> None:
    """Change the key of a home, for all of its datasets.

    Raises:
        ValueError: the logs name users whose raw id no table has (unless ``drop_unnamed``, which removes their lines),
            or an old pseudonym is left somewhere.
        FileNotFoundError: there is no key yet, or a source is missing.
    """
    if not settings.pseudonym_key.is_file():
        raise FileNotFoundError(f"{settings.pseudonym_key}: there is no key yet")
    old = read_key(settings.pseudonym_key)
    resumed = next_key(settings).is_file()
    new = read_key(next_key(settings)) if resumed else new_key()
    landed = [name for name in known_datasets() if (settings.home / name / "lake").is_dir()]
    homes = [Settings(**(settings.model_dump() | {"dataset": name})) for name in landed]
    renamings = [renaming_of(home, old, new) for home in homes]
    if not resumed:  # else all was checked before, and some is renamed already
        if (losses := _losses(renamings)) and not drop_unnamed:
            raise ValueError(losses)
        keep_key(next_key(settings), new)
    for renaming in renamings:
        say(f"{renaming.settings.dataset}: {len(renaming.users):,} users get new pseudonyms")
        _rename(renaming)
        write_check(renaming.settings, new)
    next_key(settings).replace(settings.pseudonym_key)
    for renaming in renamings:
        _make_anew(renaming.settings, say)
        if left := list(_left(renaming)):
            raise ValueError(f"old pseudonyms are still in {', '.join(map(str, left[:5]))}: remove these files")
    say("nothing is named by the old key any more; destroy its backups when you have a backup of the new one")


def renaming_of(settings: Settings, old: bytes, new: bytes) -> Renaming:
    """Read every raw id of a dataset, from the lake and, for the marks of erased users, from the sources."""
    tables = [table for table in raw_tables(settings) if table.user and not table.posted]
    raw: set[str] = set()
    sources: set[str] = set()
    listed = set(forgotten(settings))
    with connect() as connection:
        for table in tables:
            users = f"select distinct {raw_user(str(table.user))} from"
            if files := [str(path) for path in sorted((settings.lake / table.name).rglob("*.parquet"))]:
                rows = connection.execute(f"{users} read_parquet({quote(files)}, union_by_name := true)").fetchall()
                raw |= {user for (user,) in rows if user is not None}
            if listed:
                table.source.fingerprint()
                table.source.prepare(connection)
                rows = connection.execute(f"{users} {table.source.relation()}").fetchall()
                sources |= {user for (user,) in rows if user is not None}
    named = {pseudonymise(old, user): pseudonymise(new, user) for user in raw}

    def mark(key: bytes, user: str) -> str:
        return pseudonymise(key, pseudonymise(key, user))

    marks = {mark(old, user): mark(new, user) for user in sources}
    again = set(marks.values())
    unnamed = {user for path in _logs(settings) for user in _pseudonyms(path)} - named.keys() - set(named.values())
    lost = sum(entry not in marks and entry not in again for entry in listed)
    return Renaming(settings, named, marks, frozenset(unnamed), lost)


def _losses(renamings: list[Renaming]) -> str | None:
    """What would be lost, and the flag that allows it; None: nothing."""
    unnamed = sum(len(renaming.unnamed) for renaming in renamings)
    lost = sum(renaming.lost_marks for renaming in renamings)
    if not unnamed and not lost:
        return None
    return (
        f"{unnamed} users are known from posted events and answered requests alone, so a new key cannot name them, nor "
        f"{lost} erased users of whom no source has the id any more; nothing was changed. With --drop-unnamed the "
        "lines of the former are removed, and the latter land again if a source brings them back"
    )


def _rename(renaming: Renaming) -> None:
    settings = renaming.settings
    names = {old.encode(): new.encode() for old, new in renaming.users.items()}
    gone = {user.encode() for user in renaming.unnamed}
    for path in _logs(settings):
        lines = path.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if gone.isdisjoint(PSEUDONYM.findall(line))]
        with atomic_file(path) as made:
            made.write_bytes(PSEUDONYM.sub(lambda found: names.get(found[0], found[0]), b"".join(kept)))
    rename_posted(settings, renaming.users, renaming.unnamed)
    keep_histories(settings, renaming.users)
    if settings.forgotten.is_file():
        write_json(settings.forgotten, sorted(renaming.marks.get(mark, mark) for mark in forgotten(settings)))


def _make_anew(settings: Settings, say: Callable[[str], None]) -> None:
    """What follows from the lake, where it had been made; what developers made for themselves is removed."""
    for folder in (settings.dev, settings.features, settings.states):
        shutil.rmtree(folder, ignore_errors=True)
    if not (settings.marts / CURRENT).is_file():
        return
    clock = run_clock(settings, current(settings).as_of.date().isoformat())
    for step in ANEW:
        say(f"{settings.dataset}: {step}")
        run_step(step, settings, clock)
    for version in settings.marts.iterdir():
        if version.is_dir() and version != current(settings).folder:
            shutil.rmtree(version)


def _logs(settings: Settings) -> Iterator[Path]:
    yield from sorted(settings.feedback.rglob("*.jsonl"))


def _pseudonyms(path: Path) -> set[str]:
    """The users whom the lines of a log name."""
    return {found.decode() for found in re.findall(rb'"user_id":\s*"([0-9a-f]{32})"', path.read_bytes())}


def _left(renaming: Renaming) -> Iterator[Path]:
    """Files of the dataset, and those that no dataset owns, in which an old pseudonym stands."""
    settings = renaming.settings
    old = set(renaming.users) | renaming.unnamed
    words = {user.encode() for user in old}
    others = [settings.home / name for name in known_datasets() if name != settings.dataset]
    with connect(settings) as connection:
        connection.execute("create table old as select unnest($1) as user_id", [sorted(old)])
        for path in sorted(settings.home.rglob("*")):
            if not path.is_file() or path.is_symlink() or any(map(path.is_relative_to, others)):
                continue
            kind = kind_of(path)
            if (
                (kind == PARQUET and _names_old(connection, parquet(path)))
                or (kind == DUCKDB and any(_names_old(connection, table) for table in tables_of(connection, path)))
                or (kind != PARQUET and any(found in words for found in _words(path)))
            ):
                yield path


def _names_old(connection: duckdb.DuckDBPyConnection, relation: str) -> bool:
    """Whether a text of a relation, also inside a list or a longer text, is a pseudonym of the table ``old``."""
    texts = [
        '"' + name.replace('"', '""') + '"::varchar'
        for name, kind, *_ in connection.execute(f"describe select * from {relation}").fetchall()
        if is_text(kind)
    ]
    return any(
        connection.execute(
            f"select 1 from (select unnest(regexp_extract_all({text}, '[0-9a-f]{{32,}}')) as user_id"
            f" from {relation} where length({text}) >= 32) semi join old using (user_id) limit 1"
        ).fetchall()
        for text in texts
    )


def _words(path: Path) -> Iterator[bytes]:
    """What looks like a pseudonym in a file's bytes, which are read a page at a time."""
    if path.stat().st_size:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            for found in PSEUDONYM.finditer(content):
                yield found[0]

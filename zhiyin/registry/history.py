"""``history.jsonl``: one line for each move of the champion pointer, in order, synced to disk before the pointer moves.

A line holds ``number`` (1, 2, ...), ``action`` (promote, rollback, release), ``digest`` and ``judged`` digest of the
bundle that is champion after it, ``promotion`` (the number of the line that promoted that bundle), ``as_of``, ``at``
(wall time, UTC), ``actor``, ``reason``, ``mlflow_run_id`` and ``airflow_run_id``. A promotion has the gate's figures as
``gate``, a rollback what it ``took_back``: number, digest and judged digest.
"""

import fcntl
import getpass
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from zhiyin.settings import Settings
from zhiyin.store import atomic_file, read_json

HISTORY = "history.jsonl"
BEFORE = "history-before-numbers.jsonl"  # lines of the earlier format, kept as they were
POINTER = "champion.json"
LOCK = ".lock"
NESTED = re.compile(r'"digest": "([^"]+)",.*?"promoted_at_as_of": "([^"]+)"', re.DOTALL)

Entry = dict[str, Any]


def read_history(settings: Settings) -> list[Entry]:
    """Every move, oldest first. A home of an earlier version answers with the promotions that its pointer nests."""
    path = settings.registry / HISTORY
    if nested := _nested_chain(settings.registry / POINTER):
        return [_of_earlier_version(number, *promotion) for number, promotion in enumerate(nested, 1)]
    if not path.is_file():
        return []
    text = path.read_text()
    lines = text[: text.rfind("\n") + 1].splitlines()  # a line that is being written, or was cut off, is no move yet
    try:
        return [json.loads(line) for line in lines if line.strip()]
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} holds a line that is no JSON ({error}): mend or remove that line") from None


def append(settings: Settings, **facts: Any) -> Entry:
    """Write one move to the end of the history; the caller holds ``locked``."""
    entries = read_history(settings)
    number = entries[-1]["number"] + 1 if entries else 1
    facts.setdefault("promotion", number)
    entry = {"number": number, **facts, "at": datetime.now(UTC).isoformat(timespec="seconds"), **_who()}
    with (settings.registry / HISTORY).open("a") as file:
        file.write(json.dumps(entry) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return entry


@contextmanager
def locked(settings: Settings) -> Iterator[None]:
    """One mover at a time: a run's promotion and a rollback by hand wait for each other.

    What is left over is mended first: a home of an earlier version, a last line that a crash cut off, and a pointer
    that had not moved yet.
    """
    settings.registry.mkdir(parents=True, exist_ok=True)
    with (settings.registry / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _migrate(settings)
        _cut_torn_line(settings.registry / HISTORY)
        _settle(settings)
        yield


def is_nested(text: str) -> bool:
    """Whether a pointer is of the earlier version, which nested its predecessors."""
    return '"previous"' in text


def _nested_chain(pointer: Path) -> list[tuple[str, str]]:
    """(digest, as_of) of each promotion that an earlier version's pointer nests, oldest first; empty for a flat one.

    Read by a pattern: a pointer that nests hundreds is too deep for a JSON parser.
    """
    text = pointer.read_text() if pointer.is_file() else ""
    return NESTED.findall(text)[::-1] if is_nested(text) else []


def _of_earlier_version(number: int, digest: str, as_of: str) -> Entry:
    """A promotion of an earlier version, which kept neither time nor actor; what was served was what was judged."""
    unknown = dict.fromkeys(("at", "actor", "mlflow_run_id", "airflow_run_id"))
    facts = {"action": "promote", "digest": digest, "judged": digest, "promotion": number, "as_of": as_of}
    return {"number": number, **facts, "reason": "promoted by an earlier version", "gate": None, **unknown}


def _migrate(settings: Settings) -> None:
    """Write an earlier version's nested pointer as history, and then as a flat pointer."""
    pointer = settings.registry / POINTER
    if not _nested_chain(pointer):
        return
    entries = read_history(settings)
    path = settings.registry / HISTORY
    if path.is_file() and not (settings.registry / BEFORE).exists():
        path.rename(settings.registry / BEFORE)
    with atomic_file(path) as temporary:
        temporary.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    write_pointer(settings, entries[-1])


def _settle(settings: Settings) -> None:
    """Point where the history says, should a crash have come between its last line and the pointer."""
    entries, pointer = read_history(settings), settings.registry / POINTER
    if entries and (not pointer.is_file() or _as_text(pointer_of(settings, entries[-1])) != pointer.read_text()):
        write_pointer(settings, entries[-1])


def write_pointer(settings: Settings, entry: Entry) -> Entry:
    """Point at the bundle of a promotion; the pointer."""
    pointer = pointer_of(settings, entry)
    with atomic_file(settings.registry / POINTER) as temporary:
        temporary.write_text(_as_text(pointer))
    return pointer


def _as_text(pointer: Entry) -> str:
    return json.dumps(pointer, indent=2) + "\n"


def pointer_of(settings: Settings, entry: Entry) -> Entry:
    """The flat pointer at the bundle of a promotion."""
    return {
        "digest": entry["digest"],
        "judged": entry["judged"],
        "bundle": str(settings.bundles / entry["digest"]),
        "promoted_at_as_of": entry["as_of"],
        "promotion": entry["promotion"],
    }


def read_pointer(settings: Settings) -> Entry | None:
    """The pointer, flat whichever version wrote it; None where there is none."""
    path = settings.registry / POINTER
    if not path.is_file():
        return None
    if nested := _nested_chain(path):
        return pointer_of(settings, _of_earlier_version(len(nested), *nested[-1]))
    return dict(read_json(path))


def _cut_torn_line(path: Path) -> None:
    """Remove a last line that was not written to its end: the move it speaks of never happened."""
    content = path.read_bytes() if path.is_file() else b""
    if content and not content.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)
            os.fsync(file.fileno())


def _who() -> dict[str, str | None]:
    """Who moves: the person at the shell, or the run of Airflow whose task this is."""
    run = os.environ.get("AIRFLOW_CTX_DAG_RUN_ID")
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's process may run under a number that has no name
        user = str(os.getuid())
    return {"actor": "airflow" if run else user, "airflow_run_id": run}

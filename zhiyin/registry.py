"""The registry: which bundle is champion. A pointer that moves forward or back, and the history of its moves."""

import json
import os
from typing import Any

from zhiyin.clock import Clock
from zhiyin.settings import Settings
from zhiyin.store import MANIFEST, read_json, write_json

CHAMPION = "champion.json"
CHALLENGERS = "challengers"
HISTORY = "history.jsonl"
RUNS = "runs"


def champion(settings: Settings) -> dict[str, Any] | None:
    """The pointer: ``digest``, ``bundle`` (folder), ``promoted_at_as_of``, ``previous`` (pointer or None); or None."""
    path = settings.registry / CHAMPION
    return read_json(path) if path.is_file() else None


def promote(settings: Settings, digest: str, clock: Clock) -> dict[str, Any]:
    """Make a bundle champion; doing it again changes nothing.

    Raises:
        FileNotFoundError: there is no such bundle.
    """
    bundle = settings.bundles / digest
    if not (bundle / MANIFEST).is_file():
        raise FileNotFoundError(f"no bundle {digest} in {settings.bundles}")
    now = champion(settings)
    if now and now["digest"] == digest:
        return now
    return _move(settings, "promote", digest, clock.as_of.isoformat(), now)


def nominate(settings: Settings, digest: str, clock: Clock) -> None:
    """Record the bundle that a run trained: its challenger."""
    write_json(settings.registry / CHALLENGERS / f"{clock.date}.json", {"digest": digest})


def challenger(settings: Settings, clock: Clock) -> str:
    """Digest of the bundle that the run of ``clock`` trained.

    Raises:
        FileNotFoundError: that run has trained none yet.
    """
    path = settings.registry / CHALLENGERS / f"{clock.date}.json"
    if not path.is_file():
        raise FileNotFoundError(f"no bundle was trained as of {clock.date}: run the step train first")
    return str(read_json(path)["digest"])


def link_run(settings: Settings, digest: str, run_id: str) -> None:
    """Record the tracker's run that trained a bundle; beside the bundle, whose digest must not depend on it."""
    write_json(settings.registry / RUNS / f"{digest}.json", {"mlflow_run_id": run_id})


def run_of(settings: Settings, digest: str) -> str | None:
    """The tracker's run that trained a bundle, the latest if it was trained again; None where none was kept."""
    path = settings.registry / RUNS / f"{digest}.json"
    return str(read_json(path)["mlflow_run_id"]) if path.is_file() else None


def rollback(settings: Settings) -> dict[str, Any]:
    """Make the champion's predecessor champion again.

    Raises:
        ValueError: there is no predecessor.
        FileNotFoundError: its bundle is gone.
    """
    now = champion(settings)
    if not now or not now["previous"]:
        raise ValueError("there is no earlier champion to go back to")
    before = now["previous"]
    if not (settings.bundles / before["digest"] / MANIFEST).is_file():
        raise FileNotFoundError(f"the earlier champion's bundle {before['digest']} is gone from {settings.bundles}")
    return _move(settings, "rollback", before["digest"], before["promoted_at_as_of"], before["previous"])


def _move(settings: Settings, move: str, digest: str, as_of: str, previous: dict[str, Any] | None) -> dict[str, Any]:
    pointer = {
        "digest": digest,
        "bundle": str(settings.bundles / digest),
        "promoted_at_as_of": as_of,
        "previous": previous,
    }
    settings.registry.mkdir(parents=True, exist_ok=True)
    with (settings.registry / HISTORY).open("a") as history:
        entry = {"move": move, "digest": digest, "as_of": as_of, "from": (champion(settings) or {}).get("digest")}
        history.write(json.dumps(entry) + "\n")
        history.flush()
        os.fsync(history.fileno())
    write_json(settings.registry / CHAMPION, pointer)
    return pointer

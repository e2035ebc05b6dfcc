"""Artefacts on disk: written atomically with a manifest, and immutable."""

import hashlib
import json
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

MANIFEST = "manifest.json"

HOST = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
TEMPORARY = re.compile(r"\.tmp-(?P<host>[0-9a-f]{8})-(?P<process>\d+)-")
OLDER_NAMES = (".landing-", ".publish-", ".forget-", ".docs-", ".new.")  # of earlier versions
ABANDONED = 86_400.0  # seconds after which nobody is believed to write a temporary file of another machine


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_digest(value: Any) -> str:
    """SHA-256 of a JSON value with sorted keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on disk before this returns (fsync)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def temporary(name: str) -> str:
    """Prefix of a temporary file's or folder's name, by which ``sweep`` knows who writes it."""
    return f".tmp-{HOST}-{os.getpid()}-{name}-"


def sweep(folder: Path) -> tuple[int, int]:
    """Remove what killed processes left half-written below a folder; returns how many files, and their bytes.

    What a process of this machine writes that still runs stays, and what one of another machine touched within a day.
    """
    files = size = 0
    for path in list(folder.rglob(".*")):
        if not _is_left(path):
            continue
        parts = [part for part in (path.rglob("*") if path.is_dir() else [path]) if part.is_file()]
        files, size = files + len(parts), size + sum(part.stat().st_size for part in parts)
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return files, size


def _is_left(path: Path) -> bool:
    if path.name.startswith(OLDER_NAMES):
        return path.exists()
    known = TEMPORARY.match(path.name)
    if known is None or not path.exists():  # also inside of a folder that is removed already
        return False
    if known["host"] != HOST:
        return time.time() - path.stat().st_mtime > ABANDONED
    try:
        os.kill(int(known["process"]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it runs, as another user
        pass
    return False


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is synced and renamed over ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=temporary(path.name))
    os.close(descriptor)
    made = Path(name)
    try:
        yield made
        sync(made)
        made.replace(path)
        sync(path.parent)
    finally:
        made.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; on success its files are synced and it is renamed to ``path``.

    An existing folder stays, since artefacts are immutable; with ``replace`` it is replaced. A crash between the two
    renames leaves no folder, never a partial one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=path.parent, prefix=temporary(path.name)))
    made.chmod(0o755)
    try:
        yield made
        for file in made.rglob("*"):
            sync(file)
        if replace and path.exists():
            path.rename(made.with_name(f"{made.name}.old"))
        if not path.exists():
            made.rename(path)
            sync(path.parent)
    finally:
        shutil.rmtree(made, ignore_errors=True)
        shutil.rmtree(made.with_name(f"{made.name}.old"), ignore_errors=True)


def publish_by_digest(parent: Path, write: Callable[[Path], str]) -> Path:
    """Keep a new artefact as ``parent/<digest>``: ``write`` fills the folder it is given and returns the digest."""
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=temporary("new")) as place:
        folder = parent / write(Path(place))
        with atomic_folder(folder) as made:
            for part in Path(place).iterdir():
                part.rename(made / part.name)
    return folder


def write_arrays(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> None:
    """Write a safetensors file. Arrays are made C-contiguous first, because safetensors copies memory as it is."""
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically, keys in the order given."""
    with atomic_file(path) as made:
        made.write_text(json.dumps(value, indent=2, default=str) + "\n")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def write_manifest(folder: Path, **facts: Any) -> dict[str, Any]:
    """List the folder's files with size and digest, plus ``facts``, in ``manifest.json``; return the manifest.

    Its ``digest`` covers names, contents and facts: two folders with one digest are the same.
    """
    files = {
        str(path.relative_to(folder)): {"bytes": path.stat().st_size, "sha256": file_digest(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
    manifest: dict[str, Any] = {**facts, "files": files}
    manifest["digest"] = json_digest(manifest)
    write_json(folder / MANIFEST, manifest)
    return manifest


def verify_manifest(folder: Path) -> dict[str, Any]:
    """Read a folder's manifest and check every file against it.

    Raises:
        ValueError: a file is missing or differs; the message names it.
    """
    manifest: dict[str, Any] = read_json(folder / MANIFEST)
    for name, facts in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise ValueError(f"{folder}: {name} is in the manifest but not in the folder; publish the artefact again")
        if file_digest(path) != facts["sha256"]:
            raise ValueError(f"{path}: content differs from the manifest; publish the artefact again")
    return manifest

"""Artefacts on disk: written atomically with a manifest, and immutable."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

MANIFEST = "manifest.json"


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_digest(value: Any) -> str:
    """SHA-256 of a JSON value with sorted keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is synced and renamed over ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        _fsync(temporary)
        temporary.replace(path)
        _fsync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; on success its files are synced and it is renamed to ``path``.

    An existing folder stays, since artefacts are immutable; with ``replace`` it is replaced. A crash between the two
    renames leaves no folder, never a partial one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    temporary.chmod(0o755)
    try:
        yield temporary
        for file in temporary.rglob("*"):
            _fsync(file)
        if replace and path.exists():
            path.rename(temporary.with_name(f"{temporary.name}.old"))
        if not path.exists():
            temporary.rename(path)
            _fsync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(temporary.with_name(f"{temporary.name}.old"), ignore_errors=True)


def publish_by_digest(parent: Path, write: Callable[[Path], str]) -> Path:
    """Keep a new artefact as ``parent/<digest>``: ``write`` fills the folder it is given and returns the digest."""
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=".new.") as place:
        folder = parent / write(Path(place))
        with atomic_folder(folder) as temporary:
            for part in Path(place).iterdir():
                part.rename(temporary / part.name)
    return folder


def write_arrays(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> None:
    """Write a safetensors file. Arrays are made C-contiguous first, because safetensors copies memory as it is."""
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically, keys in the order given."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, default=str) + "\n")


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

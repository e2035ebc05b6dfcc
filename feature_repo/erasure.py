"""Erasure from the features: the states at earlier moments, and the rows of the online store."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from feature_repo.online_store import online_path, online_store
from zhiyin.erasure.erasable import Found
from zhiyin.erasure.rewrite import copy_without
from zhiyin.erasure.trace import Trace
from zhiyin.settings import Settings
from zhiyin.store import MANIFEST, atomic_folder, read_json, write_manifest

REDIS = "online store (Redis)"


@dataclass(frozen=True)
class States:
    """States of users and items, point in time."""

    settings: Settings

    @property
    def places(self) -> tuple[Path, ...]:
        return (self.settings.states,)

    def find(self, trace: Trace) -> Found:
        return {}

    def erase(self, trace: Trace, files: Collection[Path]) -> None:
        """Replace the states of each moment; their manifest still names the marts that they are of."""
        for folder in sorted({path.parent for path in files if path.parent.parent == self.settings.states}):
            manifest = read_json(folder / MANIFEST)
            with atomic_folder(folder, replace=True) as temporary:
                manifest["rows"] |= copy_without(trace, folder, temporary)
                facts = {key: fact for key, fact in manifest.items() if key not in ("files", "digest")}
                write_manifest(temporary, **facts)


@dataclass(frozen=True)
class OnlineRows:
    """Rows of the online store, in SQLite or Redis."""

    settings: Settings

    @property
    def places(self) -> tuple[Path, ...]:
        file = online_path(self.settings)
        return file, file.with_name(f"{file.name}-wal"), file.with_name(f"{file.name}-shm")

    def find(self, trace: Trace) -> Found:
        """Rows in Redis, which has no file below the home."""
        if not self.settings.online_store:
            return {}
        return {REDIS: online_store(self.settings).count(trace.person.pseudonym)}

    def erase(self, trace: Trace, files: Collection[Path]) -> None:
        online_store(self.settings).erase(trace.person.pseudonym)

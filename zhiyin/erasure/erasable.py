"""The interface of a place from which a person can be erased, and two implementations for files of no single room."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from zhiyin.erasure.rewrite import condition_on, overwrite_words, without_rows
from zhiyin.erasure.trace import TEXT, Trace, kind_of

Found = dict[Path | str, int]  # rows or mentions by file, or by name for a place without files below the home


class Erasable(Protocol):
    """A place of one dataset's home; each implementation is constructed with what it needs of the settings."""

    @property
    def places(self) -> tuple[Path, ...]:
        """Files and folders of this place. Where two erasables list the same path, the first in the order has it."""

    def find(self, trace: Trace) -> Found:
        """Occurrences that the search over the home's files does not see; most places have none."""

    def erase(self, trace: Trace, files: Collection[Path]) -> None:
        """Remove the person.

        ``files``: those of this place in which a search found the person. Also called when there are none, so that a
        second call completes an erasure that was interrupted.
        """


@dataclass(frozen=True)
class Immutable:
    """Artefacts that never change and hold no person. If a search finds one there, the command reports it."""

    places: tuple[Path, ...]

    def find(self, trace: Trace) -> Found:
        return {}

    def erase(self, trace: Trace, files: Collection[Path]) -> None:
        pass


@dataclass(frozen=True)
class OtherFiles:
    """Files that no other erasable lists: reports, logs of servers, files of interrupted steps.

    Databases are not rewritten, since another process may write them. If a search finds the person in one, the command
    reports it.
    """

    places: tuple[Path, ...]

    def find(self, trace: Trace) -> Found:
        return {}

    def erase(self, trace: Trace, files: Collection[Path]) -> None:
        for path in files:
            if condition := condition_on(trace, path):
                without_rows(trace, path, condition)
            elif kind_of(path) == TEXT and not path.name.endswith(("-wal", "-shm", "-journal", ".wal")):
                overwrite_words(trace, path)

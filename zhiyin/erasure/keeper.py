"""What a room implements so that its files can be freed of a person, and two keepers that need no room."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from zhiyin.erasure.rewrite import condition_on, overwrite_words, without_rows
from zhiyin.erasure.trace import TEXT, Trace, kind_of

Found = dict[Path | str, int]  # rows or mentions, by file; by name where a place has no files below the home


class Keeper(Protocol):
    """One place of a home, and how a person leaves it. It is bound to the settings of one dataset."""

    @property
    def places(self) -> tuple[Path, ...]:
        """Files, and folders of files, that are this keeper's; of two keepers, the first in the list has them."""

    def find(self, trace: Trace) -> Found:
        """What a walk over the files of the home does not see; most keepers have nothing to add."""

    def erase(self, trace: Trace, files: Collection[Path]) -> None:
        """Free the place of the person.

        ``files``: those of its own in which a search found the person. It is called without any, too: an erasure that
        was cut short is completed by the next.
        """


@dataclass(frozen=True)
class Unchanging:
    """Artefacts that never change and hold no person: what a search finds in them nevertheless, it names."""

    places: tuple[Path, ...]

    def find(self, trace: Trace) -> Found:
        return {}

    def erase(self, trace: Trace, files: Collection[Path]) -> None:
        pass


@dataclass(frozen=True)
class LooseFiles:
    """Files that stand for themselves: reports, logs of servers, what an interrupted step left.

    Databases are left as they are, since their owner writes them; the search that ends an erasure names them.
    """

    places: tuple[Path, ...]

    def find(self, trace: Trace) -> Found:
        return {}

    def erase(self, trace: Trace, files: Collection[Path]) -> None:
        for path in files:
            if condition := condition_on(trace, path):
                without_rows(trace, path, condition)
            elif kind_of(path) != TEXT or path.name.endswith(("-wal", "-shm", "-journal", ".wal")):
                continue
            else:
                overwrite_words(trace, path)

"""One person's erasure: a walk over the home finds the person, the keepers free the files, and a walk proves it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from zhiyin.erasure.keeper import Found, Keeper
from zhiyin.erasure.person import Person
from zhiyin.erasure.trace import Trace
from zhiyin.settings import Settings
from zhiyin.sql import connect


@dataclass(frozen=True)
class Erasure:
    """``keepers`` in the order in which they erase; ``others``: folders of other datasets, where the same identifier
    means somebody else."""

    settings: Settings
    person: Person
    keepers: Sequence[Keeper]
    others: Sequence[Path] = ()

    def find(self) -> Found:
        """Files that hold the person, and how many rows of each, or in texts how many mentions.

        Raises:
            ValueError: the dataset's source definition names no column of users, or a file cannot be read, because it
                is damaged or because a process writes it.
        """
        found: Found = {}
        with connect(self.settings) as connection:
            trace = Trace(self.person, connection)
            for keeper in self.keepers:
                found |= keeper.find(trace)
            for path in self._files():
                try:
                    count = trace.count(path)
                except FileNotFoundError:
                    continue
                if count:
                    found[path] = max(count, found.get(path, 0))
        return {place: found[place] for place in sorted(found, key=str) if found[place]}

    def erase(self, found: Iterable[Path | str]) -> None:
        """Free every place of the person: ``found`` is what a search named.

        Raises:
            BusyError: a build or a reader has the warehouse; what was erased before stays erased.
        """
        files: dict[int, list[Path]] = defaultdict(list)
        for path in (path for path in found if isinstance(path, Path)):
            files[self._keeper_of(path)].append(path)
        with connect(self.settings) as connection:
            trace = Trace(self.person, connection)
            for number, keeper in enumerate(self.keepers):
                keeper.erase(trace, [path for path in files[number] if path.is_file()])

    def _keeper_of(self, path: Path) -> int:
        owners = (n for n, keeper in enumerate(self.keepers) if any(map(path.is_relative_to, keeper.places)))
        return next(owners, -1)

    def _files(self) -> Iterator[Path]:
        for path in sorted(self.settings.home.rglob("*")):
            if path.is_file() and not path.is_symlink() and not any(map(path.is_relative_to, self.others)):
                yield path

"""The erasure of one person: search the home, erase in every place, search again."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from zhiyin.erasure.erasable import Erasable, Found
from zhiyin.erasure.person import Person
from zhiyin.erasure.trace import Trace
from zhiyin.settings import Settings
from zhiyin.store.sql import connect


@dataclass(frozen=True)
class Erasure:
    """``erasables`` in the order in which they erase; ``others``: folders of other datasets, which are not searched,
    because the same identifier is another person there."""

    settings: Settings
    person: Person
    erasables: Sequence[Erasable]
    others: Sequence[Path] = ()

    def find(self) -> Found:
        """Files that hold the person, with the number of rows, or in texts the number of mentions.

        Raises:
            ValueError: the dataset's source definition names no column of users, or a file cannot be read, because it
                is damaged or because a process writes it.
        """
        found: Found = {}
        with connect(self.settings) as connection:
            trace = Trace(self.person, connection)
            for erasable in self.erasables:
                found |= erasable.find(trace)
            for path in self._files():
                try:
                    count = trace.count(path)
                except FileNotFoundError:
                    continue
                found[path] = max(count, found.get(path, 0))
        return {place: found[place] for place in sorted(found, key=str) if found[place]}

    def erase(self, found: Iterable[Path | str]) -> None:
        """Remove the person from every place; ``found`` is the result of ``find``.

        Raises:
            BusyError: a build or a reader uses the warehouse; what was erased before stays erased.
        """
        files: dict[int, list[Path]] = defaultdict(list)
        for path in (path for path in found if isinstance(path, Path)):
            files[self._place_of(path)].append(path)
        with connect(self.settings) as connection:
            trace = Trace(self.person, connection)
            for number, erasable in enumerate(self.erasables):
                erasable.erase(trace, [path for path in files[number] if path.is_file()])

    def _place_of(self, path: Path) -> int:
        return next(n for n, it in enumerate(self.erasables) if any(map(path.is_relative_to, it.places)))

    def _files(self) -> Iterator[Path]:
        for path in sorted(self.settings.home.rglob("*")):
            if path.is_file() and not path.is_symlink() and not any(map(path.is_relative_to, self.others)):
                yield path

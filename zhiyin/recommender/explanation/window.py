"""Counts among a user's latest events: what a reason calls "6 of your last 41 purchases"."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from zhiyin.recommender.state.catalogue import Catalogue, Integers
from zhiyin.recommender.state.users import Users

EVENTS = 40  # at least so many, where there are


@dataclass(frozen=True)
class Window:
    """The latest events of each user, whole moments of them: nobody can tell which event of a moment was the last.

    ``user``, ``item``: one entry per event; ``position``: its place in the users' sequence; ``of``: how many [users].
    """

    user: Integers
    item: Integers
    position: Integers
    of: Integers

    @classmethod
    def of_users(cls, users: Users) -> Self:
        sequence = users.sequence
        count = np.bincount(sequence.user, minlength=len(users))
        # Events of the user that are later than each event; a sequence is in the order of time.
        starts = np.r_[True, (np.diff(sequence.user) != 0) | (np.diff(sequence.at) != 0)][: len(sequence.user)]
        moment = np.cumsum(starts) - 1
        ends = np.cumsum(np.bincount(moment, minlength=int(starts.sum())))
        later = np.cumsum(count)[sequence.user] - ends[moment]
        position = np.flatnonzero(later < EVENTS)
        user = sequence.user[position]
        return cls(user, sequence.item[position], position, np.bincount(user, minlength=len(users)))

    def items(self, user: Integers, item: Integers, catalogue: Catalogue) -> Integers:
        """How many events of the window are of the item of each (user, item) pair."""
        return _counts(self.user * len(catalogue) + self.item, user * len(catalogue) + item)

    def categories(self, user: Integers, item: Integers, catalogue: Catalogue) -> Integers:
        """How many are of the item's category; 0 where it is unknown."""
        code, n = catalogue.category, len(catalogue.categories)
        known = code[self.item] >= 0
        wanted = np.where(code[item] >= 0, user * n + code[item], -1)
        return _counts((self.user * n + code[self.item])[known], wanted)

    def labels(self, user: Integers, item: Integers, catalogue: Catalogue) -> tuple[Integers, Integers]:
        """How many are of the item's most frequent label, and its code, -1 for an item without labels."""
        n = len(catalogue.label_names)
        event, code = catalogue.labels_of(self.item)
        pair, mine = catalogue.labels_of(item)
        count = _counts(self.user[event] * n + code, user[pair] * n + mine)
        order = np.lexsort((mine, -count, pair))
        pairs, first = np.unique(pair[order], return_index=True)
        most, label = np.zeros(len(item), np.int64), np.full(len(item), -1)
        most[pairs], label[pairs] = count[order[first]], mine[order[first]]
        return most, label


def _counts(keys: Integers, wanted: Integers) -> npt.NDArray[np.int64]:
    held, count = np.unique(keys, return_counts=True)
    if not len(held):
        return np.zeros(len(wanted), np.int64)
    place = np.minimum(np.searchsorted(held, wanted), len(held) - 1)
    return np.where(held[place] == wanted, count[place], 0)

"""Pairs of documents of items that users took together: the positive pairs of the text encoder's fine-tuning."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from zhiyin.recommender.state.catalogue import Integers
from zhiyin.recommender.state.history import History

NEIGHBOURS = 8  # successive events of a user that form a group where the log has no baskets


@dataclass(frozen=True)
class Pairs:
    """Groups of documents that belong together, as flat (group, document) entries; each group holds two or more.

    ``group``, ``document`` [entries], ascending; ``start``, ``size`` [groups]; ``chance`` [documents]: how likely a
    draw is each.
    """

    group: Integers
    document: Integers
    start: Integers
    size: Integers
    chance: npt.NDArray[np.float64]

    @classmethod
    def of(cls, history: History, document: Integers, n_documents: int) -> Self:
        """Each basket is a group of its distinct documents, and so are the other events of a user, eight by eight.

        ``document`` [items]: index of each item's document among the distinct ones.

        Raises:
            ValueError: no group has two different documents.
        """
        alone = np.bincount(history.basket)[history.basket] == 1
        baskets = int(history.basket.max(initial=-1)) + 1
        place = np.cumsum(alone) - 1
        first = np.full(history.n_users, len(history))
        np.minimum.at(first, history.user[alone], place[alone])
        block = (place - first[history.user]) // NEIGHBOURS
        group = np.where(alone, baskets + history.user * (len(history) // NEIGHBOURS + 1) + block, history.basket)
        entries = np.unique(group * n_documents + document[history.item])
        group, entry = entries // n_documents, entries % n_documents
        _, index, size = np.unique(group, return_inverse=True, return_counts=True)
        kept = size[index] > 1
        if not kept.any():
            raise ValueError("the log holds no two events together whose documents differ: nothing to fine-tune on")
        _, group, size = np.unique(group[kept], return_inverse=True, return_counts=True)
        chance = np.bincount(entry[kept], minlength=n_documents) / kept.sum()
        return cls(group, entry[kept], np.cumsum(size) - size, size, chance)

    def draw(self, count: int, random: np.random.Generator) -> tuple[Integers, Integers, npt.NDArray[np.bool_]]:
        """``count`` = n pairs: documents [n], their partners [n], and bool [n, n]: which partner is no row's negative.

        Those are all documents of the row's group, including its own and copies of its partner.
        """
        entry = random.integers(0, len(self.group), count)
        group = self.group[entry]
        step = random.integers(1, self.size[group])
        partner = self.start[group] + (entry - self.start[group] + step) % self.size[group]
        one, other = self.document[entry], self.document[partner]
        n = len(self.chance)
        together = np.isin(group[:, None] * n + other, self._keys(group, n))
        np.fill_diagonal(together, False)
        return one, other, together

    def _keys(self, groups: Integers, n: int) -> Integers:
        """Of every entry of some groups: group * documents + document."""
        groups = np.unique(groups)
        size = self.size[groups]
        entries = np.repeat(self.start[groups] - (np.cumsum(size) - size), size) + np.arange(size.sum())
        keys: Integers = self.group[entries] * n + self.document[entries]
        return keys

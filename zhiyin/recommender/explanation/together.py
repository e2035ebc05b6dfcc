"""Which items are taken together: counts of baskets, from which a reason says that two items go together."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from safetensors.numpy import load_file

from zhiyin.recommender.state.catalogue import Catalogue, Integers
from zhiyin.recommender.state.history import History
from zhiyin.recommender.state.users import Users
from zhiyin.store import write_arrays

FILE = "together.safetensors"
LEAST = 10  # baskets that hold both items
LIFT = 1.2  # together so many times as often as two items that have nothing to do with each other
NEIGHBOURS = 100  # kept of an item, those of the largest cosine
ITEMS_AT_ONCE = 2_000
HALF_LIFE = 90.0  # days, of how much an own item speaks for what goes with it

Unit = Literal["baskets", "users"]


@dataclass(frozen=True)
class Together:
    """Neighbours of each item as rows of a sparse matrix [items, items]: in how many baskets both are.

    ``baskets``: those with the item [items]; ``total``: all. In a log whose baskets hold one item each, users take the
    place of baskets.
    """

    pairs: sp.csr_array
    baskets: Integers
    total: int
    unit: Unit

    @classmethod
    def of(cls, log: History) -> Self:
        taken = log.taken & ~(log.liking < 0)
        several = len(np.unique((log.basket * log.n_items + log.item)[taken])) > len(np.unique(log.basket[taken]))
        owner = (log.basket if several else log.user)[taken]
        _, row = np.unique(owner, return_inverse=True)
        keys = np.unique(row * log.n_items + log.item[taken])
        shape = (int(row.max(initial=-1)) + 1, log.n_items)
        ones = np.ones(len(keys), np.int32)
        held = sp.csr_array((ones, (keys // log.n_items, keys % log.n_items)), shape)
        baskets = np.asarray(held.sum(axis=0)).astype(np.int64)
        across = held.T.tocsr()
        blocks = [
            _neighbours(across[start : start + ITEMS_AT_ONCE] @ held, start, baskets, shape[0])
            for start in range(0, log.n_items, ITEMS_AT_ONCE)
        ]
        return cls(sp.vstack(blocks, format="csr"), baskets, shape[0], "baskets" if several else "users")

    def lift(self, item: Integers, other: Integers, both: Integers) -> npt.NDArray[np.float64]:
        """How many times as often as by chance two items are in one basket."""
        return np.asarray(both * float(self.total) / (self.baskets[item] * self.baskets[other].astype(np.float64)))

    def own(self, users: Users, user: Integers, item: Integers, catalogue: Catalogue) -> tuple[Integers, Integers]:
        """For each (user, item) pair the entry of the user's repeats that goes with it best, and the shared baskets.

        -1 where none does. An own item of the same title, or one that was graded below the usual, does not count.
        """
        repeats, n_items = users.repeats, len(catalogue)
        keys = repeats.user * n_items + repeats.item
        order = np.argsort(keys)
        starts, counts = self.pairs.indptr[item], np.diff(self.pairs.indptr)[item]
        pair = np.repeat(np.arange(len(item)), counts)
        entry = np.arange(len(pair)) - np.repeat(np.cumsum(counts) - counts, counts) + starts[pair]
        other, both = self.pairs.indices[entry].astype(np.int64), self.pairs.data[entry].astype(np.int64)
        wanted = user[pair] * n_items + other
        place = np.minimum(np.searchsorted(keys[order], wanted), max(len(keys) - 1, 0))
        mine = keys[order][place] == wanted if len(keys) else np.zeros(len(wanted), bool)
        found = order[place] if len(keys) else np.zeros(len(wanted), np.int64)
        mine &= catalogue.title[other] != catalogue.title[item[pair]]
        pair, other, both, found = pair[mine], other[mine], both[mine], found[mine]
        liked = ~(users.liking[found] < 0)
        pair, other, both, found = pair[liked], other[liked], both[liked], found[liked]
        cosine = both / np.sqrt(self.baskets[item[pair]] * self.baskets[other].astype(np.float64))
        # What is in every second basket goes with everything: the lift speaks for what is special to the pair.
        strength = cosine * np.log2(self.lift(item[pair], other, both)) * 0.5 ** (repeats.last_days[found] / HALF_LIFE)
        best = np.lexsort((other, -strength, pair))
        pairs, first = np.unique(pair[best], return_index=True)
        chosen, shared = np.full(len(item), -1), np.zeros(len(item), np.int64)
        chosen[pairs], shared[pairs] = found[best[first]], both[best[first]]
        return chosen, shared

    def save(self, folder: Path) -> None:
        numbers = {"total": np.array([self.total]), "of_users": np.array([self.unit == "users"])}
        sparse = {"starts": self.pairs.indptr, "items": self.pairs.indices, "both": self.pairs.data}
        parts = {name: values.astype(np.int32) for name, values in sparse.items()}
        write_arrays(folder / FILE, parts | numbers | {"baskets": self.baskets})

    @classmethod
    def load(cls, folder: Path) -> "Together | None":
        """None for a bundle from before there was one."""
        if not (folder / FILE).is_file():
            return None
        parts = load_file(folder / FILE)
        n_items = len(parts["baskets"])
        pairs = sp.csr_array((parts["both"], parts["items"], parts["starts"]), (n_items, n_items))
        return cls(pairs, parts["baskets"], int(parts["total"][0]), "users" if parts["of_users"][0] else "baskets")


def _neighbours(both: sp.csr_array, start: int, baskets: Integers, total: int) -> sp.csr_array:
    """Of the rows of items from ``start`` on: the neighbours that may be spoken of."""
    found = both.tocoo()
    item, other = found.row + start, found.col
    count = found.data.astype(np.float64)
    known = baskets[item] * baskets[other].astype(np.float64)
    kept = np.flatnonzero((item != other) & (count >= LEAST) & (count * total >= LIFT * known))
    cosine = count[kept] / np.sqrt(known[kept])
    order = kept[np.lexsort((other[kept], -cosine, item[kept]))]
    row = found.row[order]
    first = np.searchsorted(row, row)
    order = order[np.arange(len(order)) - first < NEIGHBOURS]
    return sp.csr_array((found.data[order].astype(np.int32), (found.row[order], found.col[order])), both.shape)

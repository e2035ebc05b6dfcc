"""Items that the words of a search stand for, by the words of their documents."""

import re

import numpy as np
import scipy.sparse as sp

from zhiyin.recommender.state.catalogue import Catalogue, Floats, Integers

WORD = re.compile(r"\w+")


def words_of(text: str) -> list[str]:
    """Words in lower case, without the plural's s."""
    return [word.removesuffix("s") if len(word) > 3 else word for word in WORD.findall(text.lower())]


class WordIndex:
    """Which item's document holds which word, rare words weighing more (idf)."""

    def __init__(self, catalogue: Catalogue) -> None:
        documents = [set(words_of(str(text))) for text in catalogue.table["document"].to_pylist()]
        self._column = {word: at for at, word in enumerate(sorted(set().union(*documents)))}
        row = np.repeat(np.arange(len(documents)), [len(words) for words in documents])
        column = np.array([self._column[word] for words in documents for word in sorted(words)], np.int64)
        held = sp.csr_array((np.ones(len(row), np.float32), (row, column)), (len(documents), len(self._column)))
        self._held = held.tocsc()
        self._rarity = np.log1p(len(documents) / np.maximum(np.diff(self._held.indptr), 1)).astype(np.float32)

    def find(self, query: str, eligible: np.ndarray, most: int) -> tuple[Integers, Floats]:
        """The items that fit the words best, and how well (0 to 1); none where no document holds a word."""
        known = sorted({self._column[word] for word in words_of(query) if word in self._column})
        if not known:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        fit = np.asarray(self._held[:, known] @ self._rarity[known]) / self._rarity[known].sum()
        fit[~eligible] = 0.0
        best = np.argsort(-fit, kind="stable")[:most]
        best = best[fit[best] > 0.5 * fit[best[0]]] if len(best) else best
        return best.astype(np.int64), fit[best].astype(np.float32)

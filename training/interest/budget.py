"""How long a run may learn: CPU minutes, counted in operations, so that the same inputs end with the same weights.

Measured seconds would differ from machine to machine, and from a busy hour to a quiet one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.interest.flops import step_flops
from training.interest.sequences import pack
from zhiyin.recommender.encoder.interest_encoder import InterestEncoder
from zhiyin.recommender.encoder.sequences import FlatSequences

if TYPE_CHECKING:
    from zhiyin.recommender.state.catalogue import Integers

CPU_RATE = 3e10  # operations of a CPU second of training: what a core of 2025 was seen to do, from 2 to 4 of them


class Work:
    """The operations of each step over ``sequences``. ``n_scored``: items in a basket's softmax."""

    def __init__(self, sequences: FlatSequences, model: InterestEncoder, n_scored: int, tokens: int, seed: int) -> None:
        self.lengths = sequences.lengths.numpy()  # events of each row
        self._baskets = sequences.baskets.diff().numpy()
        self._model, self._n_scored, self._tokens, self._seed = model, n_scored, tokens, seed

    def of(self, rows: Integers) -> float:
        """Of a step that reads these rows."""
        lengths, baskets = self.lengths[rows], self._baskets[rows]
        shape = len(rows), int(lengths.max()), int(baskets.max())
        asking, (_, text) = int((baskets - 1).sum()), self._model.text.shape
        return step_flops(self._model.config, *shape, asking, self._n_scored, len(self._model.learned), text)

    def passes(self, minutes: float) -> float:
        """Passes over the rows that so many CPU minutes pay for."""
        batches = pack(self.lengths, self._tokens, self._seed, 0)
        return minutes * 60 * CPU_RATE / max(sum(self.of(batch.numpy()) for batch in batches), 1.0)

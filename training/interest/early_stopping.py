"""Early stopping: some rows keep their last basket back, and every pass is evaluated on those."""

import numpy as np
import torch

from training.interest.sequences import answers, last_baskets
from training.interest.softmax import full_softmax
from zhiyin.recommender.encoder.interest_encoder import InterestEncoder
from zhiyin.recommender.encoder.sequences import FlatSequences

LEAST = 500  # rows: the loss of fewer says little
MOST = 5_000  # and of more, no more


class EarlyStopping:
    """``held``: bool [rows], a random ``share`` of them, within limits; ``tokens``: events read at once."""

    def __init__(
        self, sequences: FlatSequences, share: float, tokens: int, seed: int, without_owned: bool = False
    ) -> None:
        n = len(sequences)
        wanted = min(max(round(n * share), min(LEAST, n // 4)), MOST) if share else 0
        self.held = torch.from_numpy(np.random.default_rng([seed, n]).permutation(n) < wanted)
        self._tokens, self._without_owned = tokens, without_owned

    @torch.no_grad()
    def loss(self, model: InterestEncoder, sequences: FlatSequences) -> float:
        """Mean loss of the pairs kept back, over every learned item."""
        model.eval()
        vectors, total, n_pairs = model.learned_vectors(), 0.0, 0
        rows = torch.nonzero(self.held).flatten()
        rows = rows[torch.argsort(sequences.lengths.cpu()[rows], stable=True)]
        for some in rows.split(max(self._tokens // int(sequences.lengths.max()), 1)):  # type: ignore[no-untyped-call]
            batch = sequences.pad(some.to(vectors.device))
            pairs, owned = answers(model, batch, last_baskets(batch), self._without_owned)
            interests = model(batch, vectors).flatten(0, 1)
            total += float(full_softmax(interests, vectors, model.popularity, *pairs, owned=owned))
            n_pairs += len(pairs[0])
        model.train()
        return total / max(n_pairs, 1)

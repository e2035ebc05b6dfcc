"""Early stopping: some rows keep their last basket back, and every epoch is judged on those."""

import numpy as np
import torch

from training.interest.sequences import last_baskets
from training.interest.softmax import full_softmax
from zhiyin.recommender.encoder.interest_encoder import InterestEncoder
from zhiyin.recommender.encoder.sequences import PaddedSequences


class EarlyStopping:
    """``held``: bool [rows], a random ``share`` of them; ``tokens``: events read at once."""

    def __init__(self, sequences: PaddedSequences, share: float, tokens: int, seed: int) -> None:
        draw = np.random.default_rng([seed, len(sequences)]).random(len(sequences))
        self.held = torch.from_numpy(draw < share)
        self._tokens = tokens

    @torch.no_grad()
    def loss(self, model: InterestEncoder, sequences: PaddedSequences) -> float:
        """Mean loss of the pairs kept back, over the whole catalogue."""
        model.eval()
        vectors, total, n_pairs = model.item_vectors(), 0.0, 0
        rows = torch.nonzero(self.held).flatten()
        for some in rows.split(max(self._tokens // sequences.item.shape[1], 1)):  # type: ignore[no-untyped-call]
            batch = sequences.rows(some.to(vectors.device))
            basket, target = last_baskets(batch)
            total += float(full_softmax(model(batch, vectors).flatten(0, 1), vectors, model.popularity, basket, target))
            n_pairs += len(basket)
        model.train()
        return total / max(n_pairs, 1)

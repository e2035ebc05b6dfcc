"""Early stopping: some rows keep their last basket back, and every pass is judged on those."""

import numpy as np
import torch

from training.interest.sequences import last_baskets, learned_pairs, owned_items
from training.interest.softmax import full_softmax
from zhiyin.recommender.encoder.interest_encoder import InterestEncoder
from zhiyin.recommender.encoder.sequences import FlatSequences

LEAST = 500  # rows: the loss of fewer says little
MOST = 5_000  # and of more, no more


class EarlyStopping:
    """``held``: bool [rows], a random ``share`` of them; ``tokens``: events read at once."""

    def __init__(self, rows: FlatSequences, share: float, tokens: int, seed: int, owned: bool = False) -> None:
        n = len(rows)
        wanted = min(max(round(n * share), min(LEAST, n // 4)), MOST)
        draw = np.random.default_rng([seed, n]).permutation(n) < wanted
        self.held = torch.from_numpy(draw)
        self._tokens, self._owned = tokens, owned

    @torch.no_grad()
    def loss(self, model: InterestEncoder, rows: FlatSequences) -> float:
        """Mean loss of the pairs kept back, over the whole catalogue."""
        model.eval()
        vectors, total, n_pairs = model.learned_vectors(), 0.0, 0
        held = torch.nonzero(self.held).flatten()
        if len(held):
            held = held[torch.argsort(rows.lengths.cpu()[held])]
            longest = int(rows.lengths.max())
            for some in held.split(max(self._tokens // longest, 1)):  # type: ignore[no-untyped-call]
                batch = rows.pad(some.to(vectors.device))
                basket, target = learned_pairs(model, *last_baskets(batch))
                owned = learned_pairs(model, *owned_items(batch)) if self._owned else None
                interests = model(batch, vectors).flatten(0, 1)
                total += float(full_softmax(interests, vectors, model.popularity, basket, target, owned=owned))
                n_pairs += len(basket)
        model.train()
        return total / max(n_pairs, 1)

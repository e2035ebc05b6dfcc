"""Interest: the sequence model's scores for the next basket, after SASRec (Kang and McAuley 2018, arXiv:1808.09781)."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from zhiyin.recommender.candidates.base import NOT_A_CANDIDATE, CandidateGenerator, Context, PoolCache
from zhiyin.recommender.candidates.nearest import EXACT, REACH, NearestItems, spread
from zhiyin.recommender.candidates.space import Choice, Range, Space
from zhiyin.recommender.encoder.interest_encoder import EncoderConfig, InterestEncoder, lay_sequences
from zhiyin.recommender.state.catalogue import Floats, ItemState
from zhiyin.recommender.state.history import History
from zhiyin.recommender.state.users import Users

ROWS_AT_ONCE = 64  # bounds memory: one row's attention bias takes length x length x heads doubles


class Interest(CandidateGenerator):
    """Interest vector of the user times item vector, plus the item's learned popularity."""

    name = "interest"
    quota = 60
    space: ClassVar[Space] = {
        "width": Choice((32, 64, 128)),
        "layers": Range(1, 3),
        "length": Choice((64, 128, 256, 512)),
        "dropout": Range(0.0, 0.5),
        "learning_rate": Range(1e-3, 1e-2, log=True),
        "least_events": Range(1, 10),
    }

    def __init__(self, encoder: InterestEncoder, nearest: NearestItems | None = None) -> None:
        self.encoder = encoder
        self.nearest = nearest  # None: every item is scored
        self._pool = PoolCache()
        # Scoring in double precision, rounded once, makes a user's scores the same in every batch.
        self._scorer = deepcopy(encoder).double().eval()
        with torch.inference_mode():
            vectors = self._scorer.item_vectors(torch.arange(len(encoder.text)))
            self._items = torch.cat([vectors, self._scorer.item_biases().unsqueeze(1)], dim=1).T.contiguous()

    @classmethod
    def fit(
        cls,
        history: History,
        context: Context,
        exact: int = EXACT,
        width: int = EncoderConfig.width,
        layers: int = EncoderConfig.layers,
        length: int = EncoderConfig.length,
        **learning: float,
    ) -> Self:
        """``learning``: settings of the training loop, where they are not its defaults."""
        if context.fit_encoder is None:
            raise ValueError("the interest generator needs context.fit_encoder, the training loop of its encoder")
        config = EncoderConfig(width=width, layers=layers, hidden=2 * width, length=length)
        model = cls(context.fit_encoder(replace(history, type=history.types), context, config, learning))
        if len(context.text) > exact:
            vectors = model._items.T.float().contiguous().numpy()
            model.nearest = NearestItems.build(vectors, context.seed, context.threads)
        return model

    @torch.inference_mode()
    def _interests(self, users: Users) -> Tensor:
        """Interest vectors [users, width]; of a user without a history it means nothing."""
        sequence, length = users.sequence, self.encoder.config.length
        sequences = lay_sequences(
            sequence.user, sequence.item, users.sequence_types, sequence.basket, sequence.at, length, users.at
        )
        chunks = torch.arange(len(users)).split(ROWS_AT_ONCE)  # type: ignore[no-untyped-call]
        return torch.cat([self._scorer.interests(sequences.pad(chunk)) for chunk in chunks])

    @torch.inference_mode()
    def score(self, users: Users, items: ItemState) -> Floats:
        interests, sequence = self._interests(users), users.sequence
        bias = torch.ones(len(users), 1, dtype=interests.dtype)
        asked = torch.cat([interests, bias], dim=1)
        if self.nearest is None:
            pool = self._pool.get(items, lambda: self._items[:, torch.from_numpy(items.pool)].contiguous())
            scores: Floats = (asked @ pool).float().numpy()
        else:
            found = self.nearest.search(asked.numpy(), REACH)
            near = torch.einsum("ud,duc->uc", asked, self._items[:, torch.from_numpy(found)])
            scores = spread(found, near.numpy(), self._items.shape[1], NOT_A_CANDIDATE)[:, items.pool]
        scores[np.bincount(sequence.user, minlength=len(users)) == 0] = NOT_A_CANDIDATE
        return scores

    def save(self, folder: Path) -> None:
        self.encoder.save(folder)
        if self.nearest:
            self.nearest.save(folder)

    @classmethod
    def load(cls, folder: Path, context: Context) -> Self:
        return cls(InterestEncoder.load(folder, context.text), NearestItems.load(folder))

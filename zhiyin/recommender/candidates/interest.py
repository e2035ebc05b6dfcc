"""Interest: the sequence model's scores for the next basket, after SASRec (Kang and McAuley 2018, arXiv:1808.09781)."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
from safetensors.numpy import load_file
from torch import Tensor

from zhiyin.recommender.candidates.base import NOT_A_CANDIDATE, CandidateGenerator, Context, PoolCache
from zhiyin.recommender.candidates.nearest import EXACT, REACH, NearestItems, spread
from zhiyin.recommender.candidates.space import Choice, Range, Space
from zhiyin.recommender.encoder.interest_encoder import EncoderConfig, FlatSequences, InterestEncoder, lay_sequences
from zhiyin.recommender.state.catalogue import Catalogue, Floats, Integers, ItemState
from zhiyin.recommender.state.grades import DISLIKED
from zhiyin.recommender.state.history import History
from zhiyin.recommender.state.users import Users
from zhiyin.store import write_arrays

USUAL = "usual.safetensors"
USUAL_USERS = 500  # of whom the average user is made
LEFT_OUT = 6  # items of a user, each of which costs a reading of the sequence
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

    def __init__(
        self, encoder: InterestEncoder, nearest: NearestItems | None = None, usual: Tensor | None = None
    ) -> None:
        self.encoder = encoder
        self.nearest = nearest  # None: every item is scored
        self.usual = usual  # mean interest vector of the log's users [width]; None: unknown
        self._usual_rank = PoolCache()
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
        model.usual = model._mean_interest(history)
        return model

    @torch.inference_mode()
    def _mean_interest(self, history: History) -> Tensor | None:
        """Of users spread over the log, at its end."""
        found = np.unique(history.user)
        chosen = found[:: max(len(found) // USUAL_USERS, 1)]
        kept = np.isin(history.user, chosen)
        if not kept.any():
            return None
        row, end = np.searchsorted(chosen, history.user[kept]), np.full(len(chosen), history.cut)
        item, kind, basket = (values[kept] for values in (history.item, history.types, history.basket))
        length = self.encoder.config.length
        return self._read(lay_sequences(row, item, kind, basket, history.at[kept], length, end)).mean(dim=0)

    def _read(self, sequences: FlatSequences) -> Tensor:
        chunks = torch.arange(len(sequences)).split(ROWS_AT_ONCE)  # type: ignore[no-untyped-call]
        return torch.cat([self._scorer.interests(sequences.pad(chunk)) for chunk in chunks])

    def usual_rank(self, items: ItemState) -> Integers | None:
        """The rank of each item among the eligible for the average user [items]; None where that user is unknown."""
        return None if self.usual is None else self._usual_rank.get(items, lambda: self._rank_usually(items))

    @torch.inference_mode()
    def _rank_usually(self, items: ItemState) -> Integers:
        assert self.usual is not None
        asked = torch.cat([self.usual, torch.ones(1, dtype=self.usual.dtype)])
        scores = (asked @ self._items[:, torch.from_numpy(items.pool)]).numpy()
        rank = np.full(len(items.eligible), len(items.pool) + 1)
        rank[items.pool[np.argsort(-scores, kind="stable")]] = np.arange(1, len(items.pool) + 1)
        return rank

    @torch.inference_mode()
    def moved_by(
        self, users: Users, user: Integers, item: Integers, among: Integers, catalogue: Catalogue
    ) -> list[list[int]]:
        """For each (user, item) pair the user's own items that moved the interest vector towards it most, up to two.

        Each of the latest items of the user's events ``among`` (positions in the sequence) is left out in turn. Items
        of the same title as the pair's, and those that the user graded below the usual, are not named.
        """
        if not len(user):
            return []
        sequence, n_items = users.sequence, len(catalogue)
        asked = np.unique(user)
        # The latest distinct items of each user that was asked for.
        latest = among[np.isin(sequence.user[among], asked) & (users.sequence_types[among] != DISLIKED)][::-1]
        keys, first = np.unique(sequence.user[latest] * n_items + sequence.item[latest], return_index=True)
        keys = keys[np.argsort(first, kind="stable")]  # latest first
        keys = keys[np.argsort(keys // n_items, kind="stable")]
        owner = keys // n_items
        keys = keys[np.arange(len(keys)) - np.searchsorted(owner, owner) < LEFT_OUT]
        # A row for each user as they are, then one for each item that is left out.
        whose, without = np.r_[asked, keys // n_items], np.r_[np.full(len(asked), -1), keys % n_items]
        count = np.bincount(sequence.user, minlength=len(users))
        ends = np.cumsum(count)[whose]
        width = np.minimum(count[whose], self.encoder.config.length)
        row = np.repeat(np.arange(len(whose)), width)
        event = np.arange(len(row)) - np.repeat(np.cumsum(width) - width, width) + (ends - width)[row]
        kept = sequence.item[event] != without[row]
        row, event = row[kept], event[kept]
        taken, kind, basket = (values[event] for values in (sequence.item, users.sequence_types, sequence.basket))
        length, at = self.encoder.config.length, sequence.at[event]
        interests = self._read(lay_sequences(row, taken, kind, basket, at, length, users.at[whose]))
        found: list[list[int]] = []
        for one, target in zip(user.tolist(), item.tolist(), strict=True):
            rows = len(asked) + np.flatnonzero(keys // n_items == one)
            rows = rows[catalogue.title[without[rows]] != catalogue.title[target]]
            whole = interests[np.searchsorted(asked, one)]
            drop = ((whole - interests[rows]) @ self._items[:-1, target]).numpy()
            best = np.argsort(-drop, kind="stable")[:2]
            best = best[(drop[best] > 0) & (2 * drop[best] >= drop[best[:1]])]
            found.append([int(without[rows[each]]) for each in best])
        return found

    @torch.inference_mode()
    def _interests(self, users: Users) -> Tensor:
        """Interest vectors [users, width]; of a user without a history it means nothing."""
        sequence, length = users.sequence, self.encoder.config.length
        sequences = lay_sequences(
            sequence.user, sequence.item, users.sequence_types, sequence.basket, sequence.at, length, users.at
        )
        return self._read(sequences)

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
        if self.usual is not None:
            write_arrays(folder / USUAL, {"interest": self.usual.numpy()})

    @classmethod
    def load(cls, folder: Path, context: Context) -> Self:
        usual = torch.from_numpy(load_file(folder / USUAL)["interest"]) if (folder / USUAL).is_file() else None
        return cls(InterestEncoder.load(folder, context.text), NearestItems.load(folder), usual)

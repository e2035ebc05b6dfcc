"""The interest encoder: a causal transformer over a user's baskets that predicts the items of the next one.

It follows SASRec (Kang and McAuley 2018, arXiv:1808.09781), with baskets in place of single events. Two streams: events
and baskets. In each layer a basket attends to the events of its own and of earlier baskets, passes through the
feed-forward part, and its output is added to its events. The order of events inside a basket is not an input. Where
every event is a basket of its own, this is the usual causal transformer over events. With ten events per basket,
attention, feed-forward and softmax run on a tenth of the rows.

Needs torch, numpy and safetensors alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from zhiyin.contract import EVENT_TYPES
from zhiyin.recommender.encoder.attention import TIME_BUCKETS, EncoderConfig, Layer, half_octave, relation, relation_at
from zhiyin.recommender.encoder.sequences import FlatSequences, PaddedSequences, lay_sequences
from zhiyin.store import read_json, write_json

if TYPE_CHECKING:
    from zhiyin.recommender.state.catalogue import Floats

__all__ = ["EncoderConfig", "FlatSequences", "InterestEncoder", "PaddedSequences", "lay_sequences"]


def _dropout(shape: Sequence[int], rate: float, random: torch.Generator) -> Tensor:
    """0 with the given chance, in 256ths, else what keeps the mean at 1; eight of them from one random number."""
    n, dropped = math.prod(shape), round(256 * rate)
    numbers = torch.empty(-(-n // 8), dtype=torch.int64, device=random.device).random_(-(2**63), None, generator=random)
    return (numbers.view(torch.uint8)[:n].view(shape) >= dropped) * (256 / (256 - dropped))


@dataclass(frozen=True)
class Noise:
    """Dropout of a batch, drawn beforehand: factors [rows, events, width] and [rows, baskets, width]."""

    events: Tensor
    baskets: Tensor

    @classmethod
    def draw(cls, sequences: PaddedSequences, width: int, rate: float, random: torch.Generator) -> Noise:
        """Values are 0 at this ``rate``."""
        shapes = ((*sequences.item.shape, width), (*sequences.size.shape, width))
        return cls(*(_dropout(shape, rate, random) for shape in shapes))

    def rows(self, index: Tensor) -> Noise:
        return Noise(self.events[index], self.baskets[index])


class InterestEncoder(nn.Module):
    """Rows of events in, an interest vector per basket out; its product with an item vector scores the item.

    An item vector is a projection of the standardised document vector, plus a learned id vector where the log holds
    enough of the item; so an item that nobody bought yet has a place as well.
    """

    text: Tensor
    learned: Tensor
    place: Tensor

    def __init__(self, config: EncoderConfig, text: Floats, learned: npt.NDArray[np.bool_]) -> None:
        """``text``: float32 [items, d]; ``learned``: bool [items], items with a learned id vector and popularity."""
        super().__init__()
        self.config = config
        self.register_buffer("text", torch.from_numpy(text), persistent=False)
        places = np.where(learned, np.cumsum(learned) - 1, -1)
        self.register_buffer("learned", torch.from_numpy(np.flatnonzero(learned)))  # item of each learned one
        self.register_buffer("place", torch.from_numpy(places), persistent=False)  # [items], among those; or -1
        self.ids = nn.Embedding(len(self.learned), config.width)
        self.project = nn.Linear(text.shape[1], config.width, bias=False)
        self.popularity = nn.Parameter(torch.zeros(len(self.learned)))
        self.types = nn.Embedding(len(EVENT_TYPES) + 1, config.width)
        self.disliked = nn.Parameter(torch.zeros(config.width))
        self.gaps = nn.Embedding(TIME_BUCKETS, config.width)
        self.waits = nn.Embedding(TIME_BUCKETS, config.width)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        nn.init.normal_(self.ids.weight, std=config.width**-0.5)
        nn.init.normal_(self.project.weight, std=0.5 * (config.width * text.shape[1]) ** -0.5)
        # A type or a time that the log does not hold adds nothing.
        nn.init.zeros_(self.types.weight)
        nn.init.zeros_(self.gaps.weight)
        nn.init.zeros_(self.waits.weight)

    @torch.no_grad()
    def adopt(self, earlier: InterestEncoder, items: Tensor) -> None:
        """Take over what an earlier encoder of the same shape learned.

        ``items`` [items of the earlier]: the index of each here, -1 where it is gone. An item that the earlier one had
        not learned starts from its text alone.
        """
        state = earlier.state_dict()
        mine = self.state_dict()
        for name in state.keys() - {"learned", "ids.weight", "popularity"}:
            mine[name].copy_(state[name])
        now = items[earlier.learned]  # of each that it had learned
        here = torch.where(now >= 0, self.place[now.clamp(min=0)], -1)
        self.ids.weight.zero_()
        self.ids.weight[here[here >= 0]] = earlier.ids.weight[here >= 0]
        self.popularity[here[here >= 0]] = earlier.popularity[here >= 0]

    def item_vectors(self, items: Tensor) -> Tensor:
        """Vectors of item indices [...] -> [..., width]."""
        place = self.place[items]
        vectors: Tensor = self.project(self.text[items])
        if len(self.learned):
            vectors = vectors + self.ids(place.clamp(min=0)) * (place >= 0).unsqueeze(-1)
        return vectors

    def learned_vectors(self) -> Tensor:
        """Vectors of the learned items [learned, width], in the order of ``learned``."""
        vectors: Tensor = self.ids.weight + self.project(self.text[self.learned])
        return vectors

    def item_biases(self) -> Tensor:
        """Popularity of every item [items]; of those not learned, the least that was."""
        least = self.popularity.min() if len(self.learned) else self.popularity.new_zeros(())
        return torch.where(self.place >= 0, functional.pad(self.popularity, (0, 1))[self.place], least)

    def forward(self, sequences: PaddedSequences, vectors: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        """Interest vectors [rows, baskets, width]; those of padding mean nothing.

        ``vectors``: ``learned_vectors()``, where they are at hand; ``noise``: while it learns.
        """
        return self._read(sequences, vectors=vectors, noise=noise)

    def interests(self, sequences: PaddedSequences) -> Tensor:
        """The vector of each row's last basket [rows, width]; that of a row without events means nothing."""
        last = ((sequences.size > 0).sum(dim=1) - 1).clamp(min=0)
        return self._read(sequences, last.view(-1, 1)).squeeze(1)

    def _read(
        self,
        sequences: PaddedSequences,
        asked: Tensor | None = None,
        vectors: Tensor | None = None,
        noise: Noise | None = None,
    ) -> Tensor:
        """Vectors of every basket, or of those ``asked`` for [rows, n]: the last layer need not look at the others."""
        rows, breadth = sequences.size.shape
        width = self.config.width
        if vectors is None:
            events = self.item_vectors(sequences.item.clamp(min=0))
        else:
            events = self._look_up(sequences.item, vectors)
        # A disliked item adds a vector of its own to what a rating adds.
        events = events + functional.embedding(sequences.type, self.type_vectors())
        if noise is not None:
            events = events * noise.events[:, : events.shape[1]]
        home = sequences.place.unsqueeze(-1).expand(-1, -1, width)
        # A basket starts as the mean of its events (one row more takes the padding), the time since the one before,
        # and the time until the question: until the next basket, for the last one until the row's end. Who asks knows
        # the moment, so it may be read.
        total = events.new_zeros(rows, breadth + 1, width).scatter_add(1, home, events)
        gap = functional.pad(sequences.basket_at[:, :-1] - sequences.basket_at[:, 1:], (1, 0))
        baskets = total[:, :breadth] / sequences.size.clamp(min=1).unsqueeze(-1)
        wait = sequences.basket_at - functional.pad(sequences.basket_at[:, 1:], (0, 1))
        baskets = baskets + self.gaps(half_octave(gap, TIME_BUCKETS)) + self.waits(half_octave(wait, TIME_BUCKETS))
        forms = relation(sequences, events.dtype)
        for number, layer in enumerate(self.layers, start=1):
            if asked is not None and number == len(self.layers):
                baskets = baskets.gather(1, asked.unsqueeze(-1).expand(-1, -1, width))
                forms = relation_at(forms, asked)
            baskets = layer(baskets, events, forms)
            if number < len(self.layers):
                events = events + functional.pad(baskets, (0, 0, 0, 1)).gather(1, home)
        interests: Tensor = self.norm(baskets)
        return interests if noise is None else interests * noise.baskets[:, :breadth]

    def type_vectors(self) -> Tensor:
        """Vectors of the types of events, that of ``DISLIKED`` last [types, width]."""
        rating = self.types.weight[EVENT_TYPES.index("rating") + 1]
        return torch.cat([self.types.weight, (rating + self.disliked).unsqueeze(0)])

    def _look_up(self, items: Tensor, vectors: Tensor) -> Tensor:
        """Vectors of item indices [rows, events], those of learned items from ``vectors``; -1: whatever."""
        place = torch.where(items < 0, 0, self.place[items.clamp(min=0)])
        found = functional.embedding(place.clamp(min=0), vectors)
        rare = place < 0
        if not rare.any():
            return found
        return found.masked_scatter(rare.unsqueeze(-1), self.project(self.text[items[rare]]).to(found.dtype))

    def save(self, folder: Path) -> None:
        write_json(folder / "encoder.json", asdict(self.config))
        save_file(
            {name: value.contiguous() for name, value in self.state_dict().items()}, folder / "encoder.safetensors"
        )

    @classmethod
    def load(cls, folder: Path, text: Floats) -> Self:
        """Read what ``save`` wrote; ``text`` are the bundle's document vectors."""
        state = load_file(folder / "encoder.safetensors")
        learned = np.zeros(len(text), bool)
        learned[state["learned"].numpy()] = True
        model = cls(EncoderConfig(**read_json(folder / "encoder.json")), text, learned)
        model.load_state_dict({"disliked": model.disliked} | state)  # from before there was one
        return model.eval()

"""The interest encoder: a causal transformer that reads a user's baskets and says what the next one may hold.

Two streams: events (what was bought) and baskets (where the user stood then). In each layer a basket looks at the
events of its own and of earlier baskets, thinks, and hands what it learned back to its events. Nothing tells apart the
order of events inside a basket, so nothing can be learned from it. Where every event is a basket of its own, as in a
log of films, this is the usual causal transformer over events. Grocery baskets hold about ten events, so attention,
feed-forward and softmax run on a tenth of the rows.

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
from zhiyin.recommender.encoder.attention import TIME_BUCKETS, EncoderConfig, Layer, Relation, half_octave
from zhiyin.recommender.encoder.sequences import PaddedSequences, pad_sequences
from zhiyin.store import read_json, write_json

if TYPE_CHECKING:
    from zhiyin.recommender.state.catalogue import Floats

__all__ = ["EncoderConfig", "InterestEncoder", "PaddedSequences", "pad_sequences"]


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

    An item vector is a learned id vector plus a projection of the standardised document vector, so that an item that
    nobody bought yet has a place as well.
    """

    text: Tensor
    seen: Tensor

    def __init__(self, config: EncoderConfig, text: Floats, seen: npt.NDArray[np.bool_]) -> None:
        """``text``: float32 [items, d]; ``seen``: bool [items], items with a learned id vector."""
        super().__init__()
        self.config = config
        if config.trainable_text:
            self.text = nn.Parameter(torch.from_numpy(text).clone())
        else:
            self.register_buffer("text", torch.from_numpy(text), persistent=False)
        self.register_buffer("seen", torch.from_numpy(seen))
        self.ids = nn.Embedding(len(text), config.width)
        self.project = nn.Linear(text.shape[1], config.width, bias=False)
        self.popularity = nn.Parameter(torch.zeros(len(text)))
        self.types = nn.Embedding(len(EVENT_TYPES) + 1, config.width)
        self.gaps = nn.Embedding(TIME_BUCKETS, config.width)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        nn.init.normal_(self.ids.weight, std=config.width**-0.5)
        nn.init.normal_(self.project.weight, std=0.5 * (config.width * text.shape[1]) ** -0.5)
        # A type or a gap that the log does not hold adds nothing.
        nn.init.zeros_(self.types.weight)
        nn.init.zeros_(self.gaps.weight)

    @torch.no_grad()
    def adopt(self, earlier: InterestEncoder, items: Tensor) -> None:
        """Take over what an earlier encoder of the same shape learned.

        ``items`` [items of the earlier]: the index of each here, -1 where it is gone. An item that the earlier one had
        not seen starts from its text alone.
        """
        state = earlier.state_dict()
        mine = self.state_dict()
        for name in mine.keys() - {"seen", "ids.weight", "popularity", "text"}:
            mine[name].copy_(state[name])
        known = (items >= 0) & earlier.seen
        if self.config.trainable_text:
            self.text[items[known]] = earlier.text[known]
        self.ids.weight.zero_()
        self.ids.weight[items[known]] = earlier.ids.weight[known]
        self.popularity[items[known]] = earlier.popularity[known]

    def item_vectors(self, items: Tensor | None = None) -> Tensor:
        """Vectors of item indices [...] -> [..., width]; of every item without any."""
        if items is None:
            ids, seen, text = self.ids.weight, self.seen, self.text
        else:
            ids, seen, text = self.ids(items), self.seen[items], self.text[items]
        vectors: Tensor = ids * seen.unsqueeze(-1) + self.project(text)
        return vectors

    def forward(self, sequences: PaddedSequences, vectors: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        """Interest vectors [rows, baskets, width]; those of padding mean nothing.

        ``vectors``: ``item_vectors()``, where they are at hand; ``noise``: while it learns.
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
        items = sequences.item.clamp(min=0)
        events = self.item_vectors(items) if vectors is None else functional.embedding(items, vectors)
        events = events + self.types(sequences.type)
        if noise is not None:
            events = events * noise.events[:, : events.shape[1]]
        home = sequences.place.unsqueeze(-1).expand(-1, -1, width)
        # A basket starts as the mean of its events (one row more takes the padding) and the time since the last one.
        total = events.new_zeros(rows, breadth + 1, width).scatter_add(1, home, events)
        gap = functional.pad(sequences.basket_at[:, :-1] - sequences.basket_at[:, 1:], (1, 0))
        baskets = total[:, :breadth] / sequences.size.clamp(min=1).unsqueeze(-1)
        baskets = baskets + self.gaps(half_octave(gap, TIME_BUCKETS))
        relation = Relation.of(sequences, self.config, events.dtype)
        for number, layer in enumerate(self.layers, start=1):
            if asked is not None and number == len(self.layers):
                baskets = baskets.gather(1, asked.unsqueeze(-1).expand(-1, -1, width))
                relation = relation.at(asked)
            baskets = layer(baskets, events, relation)
            if number < len(self.layers):
                events = events + functional.pad(baskets, (0, 0, 0, 1)).gather(1, home)
        interests: Tensor = self.norm(baskets)
        return interests if noise is None else interests * noise.baskets[:, :breadth]

    def save(self, folder: Path) -> None:
        write_json(folder / "encoder.json", asdict(self.config))
        save_file(
            {name: value.contiguous() for name, value in self.state_dict().items()}, folder / "encoder.safetensors"
        )

    @classmethod
    def load(cls, folder: Path, text: Floats) -> Self:
        """Read what ``save`` wrote; ``text`` are the bundle's document vectors."""
        state = load_file(folder / "encoder.safetensors")
        model = cls(EncoderConfig(**read_json(folder / "encoder.json")), text, state["seen"].numpy())
        model.load_state_dict(state)
        return model.eval()

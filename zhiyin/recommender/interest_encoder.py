"""The interest encoder: a causal transformer that reads a user's baskets and says what the next one may hold.

Two streams: events (what was bought) and baskets (where the user stood then). In each layer a basket looks at the
events of its own and of earlier baskets, thinks, and hands what it learned back to its events. Nothing tells apart the
order of events inside a basket, so nothing can be learned from it. Where every event is a basket of its own, as in a
log of films, this is the usual causal transformer over events. Grocery baskets hold about ten events, so attention,
feed-forward and softmax run on a tenth of the rows.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from zhiyin.contract import EVENT_TYPES
from zhiyin.recommender.catalogue import SECONDS_PER_DAY, Floats, Integers
from zhiyin.store import read_json, write_json

TIME_BUCKETS = 20  # half-octaves of days: 0, under 1.4, ... past 700


@dataclass(frozen=True)
class EncoderConfig:
    """Shape of the network."""

    width: int = 64  # of an item vector and of every layer; wider learns no better from a few thousand users
    layers: int = 2
    heads: int = 2
    length: int = 256  # events read, the latest
    dropout: float = 0.1


@dataclass(frozen=True)
class Sessions:
    """Padded rows of events [rows, length] and of their baskets [rows, baskets], both left-aligned, oldest first."""

    item: Tensor  # int64, -1 where there is no event
    type: Tensor  # int64
    place: Tensor  # int64, place of the event's basket in its row; ``baskets`` where there is no event
    at: Tensor  # float32, days before the row's end
    basket_at: Tensor  # float32 [rows, baskets]
    size: Tensor  # int64 [rows, baskets], events of the basket that are here; 0 where there is no basket

    def __len__(self) -> int:
        return self.item.shape[0]

    def rows(self, index: Tensor) -> "Sessions":
        """Some of the rows, cut to the longest among them."""
        size = self.size[index]
        baskets = max(int((size > 0).sum(dim=1).max()), 1)
        events = max(int(size.sum(dim=1).max()), 1)
        place = self.place[index, :events].clamp(max=baskets)
        item, event_type, at = (values[index, :events] for values in (self.item, self.type, self.at))
        return Sessions(item, event_type, place, at, self.basket_at[index, :baskets], size[:, :baskets])


def pad_sessions(
    row: Integers,
    item: Integers,
    event_type: Integers,
    basket: Integers,
    at: npt.NDArray[np.float64],
    length: int,
    end: npt.NDArray[np.float64],
) -> Sessions:
    """Lay flat events (rows ascending, baskets together and oldest first) into rows, the latest ``length`` of each.

    ``at``: epoch seconds per event; ``end``: epoch seconds per row [rows], from which days are counted back.
    """
    rows = len(end)
    counts = np.bincount(row, minlength=rows)
    keep = np.arange(len(row)) >= (np.cumsum(counts) - np.minimum(counts, length))[row]
    row, item, event_type, basket, at = row[keep], item[keep], event_type[keep], basket[keep], at[keep]
    counts = np.bincount(row, minlength=rows)
    column = np.arange(len(row)) - (np.cumsum(counts) - counts)[row]
    opens = np.r_[True, (row[1:] != row[:-1]) | (basket[1:] != basket[:-1])][: len(row)]
    ordinal = np.cumsum(opens) - 1
    basket_row = row[opens]
    baskets = np.bincount(basket_row, minlength=rows)
    basket_column = np.arange(len(basket_row)) - (np.cumsum(baskets) - baskets)[basket_row]
    width, breadth = max(int(counts.max(initial=0)), 1), max(int(baskets.max(initial=0)), 1)
    days = (end[row] - at) / SECONDS_PER_DAY
    events, sets = ((row, column), (rows, width)), ((basket_row, basket_column), (rows, breadth))

    def lay(grid: tuple[tuple[Integers, Integers], tuple[int, int]], values: Any, fill: int, kind: type) -> Tensor:
        laid: npt.NDArray[Any] = np.full(grid[1], fill, kind)
        laid[grid[0]] = values
        return torch.from_numpy(laid)

    return Sessions(
        lay(events, item, -1, np.int64),
        lay(events, event_type, 0, np.int64),
        lay(events, basket_column[ordinal], breadth, np.int64),
        lay(events, days, 0, np.float32),
        lay(sets, days[opens], 0, np.float32),
        lay(sets, np.bincount(ordinal, minlength=len(basket_row)), 0, np.int64),
    )


def time_bucket(days: Tensor) -> Tensor:
    """Half-octave bucket of a duration in days."""
    return (2 * torch.log2(1 + days.clamp(min=0))).ceil().long().clamp(max=TIME_BUCKETS - 1)


class Layer(nn.Module):
    """Baskets attend to events (pre-norm, nearer in time more), then a gated layer (SwiGLU)."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        width, hidden = config.width, 2 * config.width
        self.heads = config.heads
        self.norm_events, self.norm_baskets, self.norm_forward = (nn.LayerNorm(width) for _ in range(3))
        self.query, self.key_value, self.out = (
            nn.Linear(width, width),
            nn.Linear(width, 2 * width),
            nn.Linear(width, width),
        )
        self.gate, self.down = nn.Linear(width, 2 * hidden), nn.Linear(hidden, width)
        # Attention fades with time as a power law and exponentially (months), each with a rate that a head learns.
        self.fading = nn.Parameter(torch.linspace(-0.5, 0.0, 2 * config.heads).view(2, config.heads))

    def forward(self, baskets: Tensor, events: Tensor, days: Tensor, blocked: Tensor) -> Tensor:
        rows, m, width = baskets.shape
        q = self.query(self.norm_baskets(baskets)).view(rows, m, self.heads, -1).transpose(1, 2)
        k, v = (
            self.key_value(self.norm_events(events))
            .view(rows, events.shape[1], 2, self.heads, -1)
            .permute(2, 0, 3, 1, 4)
        )
        power, exponential = self.fading.unsqueeze(-1).unsqueeze(-1)
        bias = torch.log1p(days).unsqueeze(1) * power + (days / 30).unsqueeze(1) * exponential
        bias = bias.masked_fill(blocked, -torch.inf)
        attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        x = baskets + self.out(attended.transpose(1, 2).reshape(rows, m, width))
        gate, up = self.gate(self.norm_forward(x)).chunk(2, dim=-1)
        out: Tensor = x + self.down(functional.silu(gate) * up)
        return out


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
        self.register_buffer("text", torch.from_numpy(text), persistent=False)
        self.register_buffer("seen", torch.from_numpy(seen))
        self.ids = nn.Embedding(len(text), config.width)
        self.project = nn.Linear(text.shape[1], config.width, bias=False)
        self.popularity = nn.Parameter(torch.zeros(len(text)))
        self.types = nn.Embedding(len(EVENT_TYPES) + 1, config.width)
        self.gaps = nn.Embedding(TIME_BUCKETS, config.width)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        for table in (self.ids, self.types, self.gaps):
            nn.init.normal_(table.weight, std=config.width**-0.5)
        nn.init.normal_(self.project.weight, std=0.5 * (config.width * text.shape[1]) ** -0.5)

    @torch.no_grad()
    def adopt(self, earlier: "InterestEncoder", items: Tensor) -> None:
        """Take over what an earlier encoder of the same shape learned.

        ``items`` [items of the earlier]: the index of each here, -1 where it is gone. An item that the earlier one had
        not seen starts from its text alone.
        """
        state = earlier.state_dict()
        mine = self.state_dict()
        for name in mine.keys() - {"seen", "ids.weight", "popularity"}:
            mine[name].copy_(state[name])
        known = (items >= 0) & earlier.seen
        self.ids.weight.zero_()
        self.ids.weight[items[known]] = earlier.ids.weight[known]
        self.popularity[items[known]] = earlier.popularity[known]

    def item_vectors(self, items: Tensor) -> Tensor:
        """Vectors of item indices [...] -> [..., width]."""
        vectors: Tensor = self.ids(items) * self.seen[items].unsqueeze(-1) + self.project(self.text[items])
        return vectors

    def forward(self, sessions: Sessions) -> Tensor:
        """Interest vectors [rows, baskets, width]; those of padding mean nothing."""
        return self._read(sessions)

    def interests(self, sessions: Sessions) -> Tensor:
        """The vector of each row's last basket [rows, width]; that of a row without events means nothing."""
        last = ((sessions.size > 0).sum(dim=1) - 1).clamp(min=0)
        return self._read(sessions, last.view(-1, 1)).squeeze(1)

    def _read(self, sessions: Sessions, asked: Tensor | None = None) -> Tensor:
        """Vectors of every basket, or of those ``asked`` for [rows, n]: the last layer need not look at the others."""
        rows, breadth = sessions.size.shape
        width = self.config.width
        dtype = self.project.weight.dtype
        events = self.item_vectors(sessions.item.clamp(min=0)) + self.types(sessions.type)
        events = functional.dropout(events, self.config.dropout, self.training)
        home = sessions.place.unsqueeze(-1).expand(-1, -1, width)
        # A basket starts as the mean of its events (one row more takes the padding) and the time since the last one.
        total = torch.zeros(rows, breadth + 1, width, dtype=dtype).scatter_add(1, home, events)
        gap = functional.pad(sessions.basket_at[:, :-1] - sessions.basket_at[:, 1:], (1, 0))
        baskets = total[:, :breadth] / sessions.size.clamp(min=1).unsqueeze(-1) + self.gaps(time_bucket(gap))

        days = (sessions.at.unsqueeze(1) - sessions.basket_at.unsqueeze(2)).clamp(min=0).to(dtype)
        blocked = sessions.place.unsqueeze(1) > torch.arange(breadth).view(1, -1, 1)
        blocked[:, :, 0] = blocked[:, :, 0] & (sessions.size > 0).any(
            dim=1, keepdim=True
        )  # an empty row sees its padding
        for number, layer in enumerate(self.layers, start=1):
            if asked is not None and number == len(self.layers):
                index = asked.unsqueeze(-1)
                baskets = baskets.gather(1, index.expand(-1, -1, width))
                days, blocked = (part.gather(1, index.expand(-1, -1, part.shape[2])) for part in (days, blocked))
            baskets = layer(baskets, events, days, blocked.unsqueeze(1))
            if number < len(self.layers):
                events = events + functional.pad(baskets, (0, 0, 0, 1)).gather(1, home)
        vectors: Tensor = functional.dropout(self.norm(baskets), self.config.dropout, self.training)
        return vectors

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

"""Attention of the interest encoder: baskets look at events, nearer ones more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from zhiyin.recommender.encoder.sequences import PaddedSequences

TIME_BUCKETS = 20  # half-octaves of days: 0, under 1.4, ... past 700
PLACE_BUCKETS = 16  # baskets back: 0, 1, ... 4, then by half-octaves
BLOCKED = -1e9  # finite, so that a row that sees nothing has a softmax, too


@dataclass(frozen=True)
class EncoderConfig:
    """Shape of the network."""

    width: int = 64  # of an item vector and of every layer; wider learns no better from a few thousand users
    layers: int = 2
    heads: int = 2
    hidden: int = 128  # of the gated layer
    length: int = 256  # events read, the latest
    time: Literal["none", "fading", "buckets"] = "fading"  # how attention knows the time between two events
    places: Literal["none", "fading", "buckets"] = "fading"  # and how many baskets lie between them
    gated: bool = False  # TRIAL
    wait: Literal["none", "input", "relation", "both"] = "none"  # TRIAL


def half_octave(amount: Tensor, buckets: int) -> Tensor:
    """Bucket of an amount from 0 on: half-octaves of 1 + amount; the last bucket holds all that is more."""
    return (2 * torch.log2(1 + amount.clamp(min=0))).ceil().long().clamp(max=buckets - 1)


@dataclass(frozen=True)
class Relation:
    """What a basket's attention knows of an event besides its content.

    ``forms`` [forms, rows, baskets, events]: first 0, or very low where the event is later; then amounts whose weights
    a head learns. ``buckets``: each [rows, baskets, events], indices into a head's table of biases.
    """

    forms: Tensor
    buckets: tuple[Tensor, ...]

    @classmethod
    def of(cls, sequences: PaddedSequences, config: EncoderConfig, dtype: torch.dtype) -> Relation:
        moment = sequences.basket_at
        if config.wait in ("relation", "both"):
            moment = functional.pad(moment[:, 1:], (0, 1))
        days = (sequences.at.unsqueeze(1) - moment.unsqueeze(2)).clamp(min=0).to(dtype)
        places = torch.arange(sequences.size.shape[1], device=days.device).view(1, -1, 1)
        back = places - sequences.place.unsqueeze(1)
        blocked = (back < 0).to(dtype) * BLOCKED
        back = back.clamp(min=0).to(dtype)
        amounts = ((config.time, days, TIME_BUCKETS), (config.places, back, PLACE_BUCKETS))
        # Attention fades as a power law and exponentially (in months, or in tens of baskets).
        faded = [amount for way, amount, _ in amounts if way == "fading"]
        forms = torch.stack([blocked, *(form for amount in faded for form in (torch.log1p(amount), amount / 30))])
        buckets = tuple(half_octave(amount, n) for way, amount, n in amounts if way == "buckets")
        return cls(forms, buckets)

    def at(self, places: Tensor) -> Relation:
        """Of some baskets [rows, n] alone."""

        def pick(values: Tensor) -> Tensor:
            index = places.unsqueeze(-1).expand(-1, -1, values.shape[-1])
            return values.gather(-2, index.expand(*values.shape[:-2], -1, -1))

        return Relation(pick(self.forms), tuple(map(pick, self.buckets)))


class Layer(nn.Module):
    """Baskets attend to events (pre-norm, biased by time and distance), then a gated layer (SwiGLU)."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        width, hidden, heads = config.width, config.hidden, config.heads
        self.heads = heads
        self.norm_events, self.norm_baskets, self.norm_forward = (nn.LayerNorm(width) for _ in range(3))
        self.query, self.key_value, self.out = (
            nn.Linear(width, width),
            nn.Linear(
                width, 2 * width, bias=False
            ),  # a bias of keys would move nothing, one of values is that of ``out``
            nn.Linear(width, width),
        )
        self.gate, self.down = nn.Linear(width, 2 * hidden), nn.Linear(hidden, width)
        self.doors = nn.ModuleList(nn.Linear(width, width) for _ in range(2 * config.gated))
        ways = (config.time, config.places)
        self.fading = nn.Parameter(torch.linspace(-0.5, 0.0, 2 * heads).view(2, heads).repeat(ways.count("fading"), 1))
        sizes = [n for way, n in zip(ways, (TIME_BUCKETS, PLACE_BUCKETS), strict=True) if way == "buckets"]
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(n, heads)) for n in sizes)

    def forward(
        self, baskets: Tensor, events: Tensor, relation: Relation, noise: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        rows, m, width = baskets.shape
        normed = self.norm_baskets(baskets)
        q = self.query(normed).view(rows, m, self.heads, -1).transpose(1, 2)
        k, v = (
            self.key_value(self.norm_events(events))
            .view(rows, events.shape[1], 2, self.heads, -1)
            .permute(2, 0, 3, 1, 4)
        )
        rates = functional.pad(self.fading, (0, 0, 1, 0), value=1.0)
        bias = (rates.T @ relation.forms.flatten(1)).view(self.heads, rows, m, -1).transpose(0, 1)
        for table, bucket in zip(self.biases, relation.buckets, strict=True):
            bias = bias + functional.embedding(bucket, table).permute(0, 3, 1, 2)
        attended = self.out(attend(q, k, v, bias).transpose(1, 2).reshape(rows, m, width))
        if self.doors:
            attended = attended * torch.sigmoid(self.doors[0](normed))
        x = baskets + (attended if noise is None else attended * noise[0][:, :m])
        normed = self.norm_forward(x)
        gate, up = self.gate(normed).chunk(2, dim=-1)
        thought = self.down(functional.silu(gate) * up)
        if self.doors:
            thought = thought * torch.sigmoid(self.doors[1](normed))
        out: Tensor = x + (thought if noise is None else thought * noise[1][:, :m])
        return out


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """Attention [rows, heads, m, d] with an additive bias [rows, heads or 1, m, n] that may learn."""
    if q.is_cuda:
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
    # On a CPU a bias that learns sends torch's own attention on its slowest path.
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2) + bias
    return torch.softmax(scores, dim=-1) @ v

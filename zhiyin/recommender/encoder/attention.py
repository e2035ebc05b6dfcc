"""Attention of the interest encoder: baskets look at events, nearer ones more."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from zhiyin.recommender.encoder.sequences import PaddedSequences

TIME_BUCKETS = 20  # half-octaves of days: 0, under 1.4, ... past 700
BLOCKED = -1e9  # finite, so that a row that sees nothing has a softmax, too


@dataclass(frozen=True)
class EncoderConfig:
    """Shape of the network."""

    width: int = 64  # of an item vector and of every layer; twice as wide is a few percent better, in twice the time
    layers: int = 2
    heads: int = 2
    hidden: int = 128  # of the gated layer
    length: int = 256  # events read, the latest


def half_octave(amount: Tensor, buckets: int) -> Tensor:
    """Bucket of an amount from 0 on: half-octaves of 1 + amount; the last bucket holds all that is more."""
    return (2 * torch.log2(1 + amount.clamp(min=0))).ceil().long().clamp(max=buckets - 1)


def relation(sequences: PaddedSequences, dtype: torch.dtype) -> Tensor:
    """What a basket's attention knows of an event besides its content: [forms, rows, baskets, events].

    First 0, or very low where the event is later; then amounts whose weights a head learns. Attention fades as a power
    law and exponentially, with the time between the two (in months) and with the baskets between them (in tens).
    """
    days = (sequences.at.unsqueeze(1) - sequences.basket_at.unsqueeze(2)).clamp(min=0).to(dtype)
    places = torch.arange(sequences.size.shape[1], device=days.device).view(1, -1, 1)
    back = places - sequences.place.unsqueeze(1)
    blocked = (back < 0).to(dtype) * BLOCKED
    back = back.clamp(min=0).to(dtype)
    return torch.stack([blocked, torch.log1p(days), days / 30, torch.log1p(back), back / 30])


def relation_at(forms: Tensor, places: Tensor) -> Tensor:
    """A relation of some baskets [rows, n] alone."""
    index = places.unsqueeze(-1).expand(-1, -1, forms.shape[-1])
    return forms.gather(-2, index.expand(len(forms), -1, -1, -1))


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
        self.fading = nn.Parameter(torch.linspace(-0.5, 0.0, 2 * heads).view(2, heads).repeat(2, 1))

    def forward(self, baskets: Tensor, events: Tensor, forms: Tensor) -> Tensor:
        """``forms``: their ``relation``."""
        rows, m, width = baskets.shape
        q = self.query(self.norm_baskets(baskets)).view(rows, m, self.heads, -1).transpose(1, 2)
        k, v = (
            self.key_value(self.norm_events(events))
            .view(rows, events.shape[1], 2, self.heads, -1)
            .permute(2, 0, 3, 1, 4)
        )
        rates = functional.pad(self.fading, (0, 0, 1, 0), value=1.0)
        bias = (rates.T @ forms.flatten(1)).view(self.heads, rows, m, -1).transpose(0, 1)
        x = baskets + self.out(attend(q, k, v, bias).transpose(1, 2).reshape(rows, m, width))
        gate, up = self.gate(self.norm_forward(x)).chunk(2, dim=-1)
        out: Tensor = x + self.down(functional.silu(gate) * up)
        return out


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """Attention [rows, heads, m, d] with an additive bias [rows, heads or 1, m, n] that may learn."""
    if q.is_cuda:
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
    # On a CPU a bias that learns sends torch's own attention on its slowest path.
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2) + bias
    return torch.softmax(scores, dim=-1) @ v

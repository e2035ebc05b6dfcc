"""Softmax cross-entropy of (basket, item) pairs: over the whole catalogue in chunks, or over shared samples.

A basket's normaliser is computed once, however many items its user's next basket holds.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

SCORES_AT_ONCE = {"cpu": 2**19, "cuda": 2**27}  # scores of one chunk: what a core's cache holds; half a GiB


class Softmax:
    """The loss of a run: over the whole catalogue, or over samples that a step shares."""

    def __init__(self, counts: Tensor, negatives: int, low: torch.dtype | None = None) -> None:
        """``counts`` [items]: how often each was bought. Without ``negatives`` the catalogue is scored whole.

        ``low``: the type of the whole catalogue's products, by default that of the vectors.
        """
        self._low = low
        self.full = negatives == 0
        self.n_scored = len(counts) if self.full else negatives
        self._chance = counts.pow(0.75) / counts.pow(0.75).sum()
        self._log_q = torch.log(max(negatives, 1) * self._chance)

    def draw(self, random: torch.Generator) -> Tensor | None:
        """Items of a step's samples, by a power of their count; None where the whole catalogue is scored."""
        return None if self.full else torch.multinomial(self._chance, self.n_scored, True, generator=random)

    def __call__(
        self,
        interests: Tensor,
        vectors: Tensor,
        bias: Tensor,
        basket: Tensor,
        target: Tensor,
        sample: Tensor | None,
        owned: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """As ``full_softmax``; samples do not leave out what is ``owned``: of many items a user has few."""
        if sample is None:
            return full_softmax(interests, vectors, bias, basket, target, self._low, owned)
        return sampled_softmax(interests, vectors, bias, basket, target, sample, self._log_q)


def full_softmax(
    interests: Tensor,
    vectors: Tensor,
    bias: Tensor,
    basket: Tensor,
    target: Tensor,
    low: torch.dtype | None = None,
    owned: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Sum of the pairs' losses. ``interests`` [baskets, w], ``vectors`` [items, w], ``bias`` [items]; pairs [n].

    ``owned``: pairs of a basket and an item that its softmax leaves out, ordered by basket. Memory is that of one chunk
    of scores, for gradients as well; time grows with baskets x items.
    """
    n_baskets = len(interests)
    asking, place, weight = torch.unique(basket, return_inverse=True, return_counts=True)
    interests = functional.embedding(asking, interests)
    out = None
    if owned is not None:
        row = torch.full((n_baskets,), -1, device=asking.device)
        row[asking] = torch.arange(len(asking), device=asking.device)
        row = row[owned[0]]
        out = row[row >= 0], owned[1][row >= 0]
    reference = torch.zeros_like(asking).scatter_reduce_(0, place, target, "amax")  # any of a basket's targets
    total: Tensor = _Normaliser.apply(  # type: ignore[no-untyped-call]
        interests, vectors, bias, weight.to(interests.dtype), low or vectors.dtype, reference, out
    )
    return total - _right(interests, vectors, bias, place, target).sum()


def sampled_softmax(
    interests: Tensor,
    vectors: Tensor,
    bias: Tensor,
    basket: Tensor,
    target: Tensor,
    sample: Tensor,
    log_q: Tensor,
) -> Tensor:
    """Sum of the pairs' losses over the items ``sample`` [s]; ``log_q`` [items]: log expected draws.

    The normaliser is the target, exactly, plus an unbiased estimate of all other items: each draw counts one over its
    expected draws, and a draw of the target counts nothing (Khrylchenko et al. 2025, arXiv:2507.09331). The usual
    correction divides the target, too, by its expected draws, so that rare items stop learning.
    """
    asking, basket = torch.unique(basket, return_inverse=True)
    interests = functional.embedding(asking, interests)
    right = _right(interests, vectors, bias, basket, target).float()
    drawn = torch.addmm((bias - log_q)[sample], interests, functional.embedding(sample, vectors).T).float()
    all_drawn = torch.logsumexp(drawn, dim=1)[basket]
    # The estimate holds the target ``hits`` / expected draws times; it has to be there once. The sum is never less
    # than the target alone, so what is lost in the difference is rounding.
    hits = torch.bincount(sample, minlength=len(bias))[target] / log_q.exp()[target]
    top = torch.maximum(all_drawn, right).detach()
    normaliser = (all_drawn - top).exp() + (right - top).exp() * (1 - hits)
    return (top + normaliser.clamp(min=1e-30).log() - right).sum()


def _right(interests: Tensor, vectors: Tensor, bias: Tensor, basket: Tensor, target: Tensor) -> Tensor:
    products = functional.embedding(basket, interests) * functional.embedding(target, vectors)
    return products.sum(dim=1) + functional.embedding(target, bias.unsqueeze(1)).squeeze(1)


class _Normaliser(torch.autograd.Function):
    """Weighted sum of log-sum-exp over the catalogue; gradients are made with the value, while a chunk is in cache.

    Products and chances are of type ``low``: in bfloat16 a CPU that has it is thrice as fast, and the weights learn as
    well (docs/lab/encoder_inputs.md).
    """

    @staticmethod
    def forward(
        ctx: Any,
        interests: Tensor,
        vectors: Tensor,
        bias: Tensor,
        weight: Tensor,
        low: torch.dtype,
        reference: Tensor,
        owned: tuple[Tensor, Tensor] | None,
    ) -> Tensor:
        kind, width = interests.device.type, interests.shape[1]
        total = torch.zeros((), dtype=vectors.dtype, device=vectors.device)
        # The bias is one more column: a product adds it to the scores, and another makes its gradient. With a width
        # that 8 divides products are faster.
        filler = -(width + 1) % 8
        table = functional.pad(torch.cat([vectors, bias.unsqueeze(1)], dim=1), (0, filler)).to(low)
        rows = functional.pad(functional.pad(interests, (0, 1), value=1.0), (0, filler))
        d_interests, d_vectors = torch.empty_like(interests), torch.zeros_like(table, dtype=vectors.dtype)
        with torch.autocast(kind, enabled=False):
            for start in range(0, len(rows), chunk := max(SCORES_AT_ONCE[kind] // len(vectors), 16)):
                some, share = rows[start : start + chunk], weight[start : start + chunk].unsqueeze(1)
                scores = some.to(low) @ table.T
                if owned is not None:
                    bounds = torch.tensor([start, start + chunk], device=scores.device)
                    first, last = torch.searchsorted(owned[0], bounds).tolist()
                    scores[owned[0][first:last] - start, owned[1][first:last]] = -torch.inf
                chances = torch.softmax(scores, dim=1)
                # Log-sum-exp from one column, that of an item that did come next.
                column = reference[start : start + chunk].unsqueeze(1)
                likely = chances.gather(1, column).to(total.dtype).clamp(min=1e-38)
                total += ((scores.gather(1, column) - likely.log()) * share).sum()
                d_interests[start : start + chunk] = (chances @ table)[:, :width] * share
                d_vectors += chances.T @ (some * share).to(low)
        ctx.save_for_backward(d_interests, d_vectors[:, :width], d_vectors[:, width])
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return *(grad * part for part in ctx.saved_tensors), None, None, None, None

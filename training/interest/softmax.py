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
        self, interests: Tensor, vectors: Tensor, bias: Tensor, basket: Tensor, target: Tensor, sample: Tensor | None
    ) -> Tensor:
        if sample is None:
            return full_softmax(interests, vectors, bias, basket, target, self._low)
        return sampled_softmax(interests, vectors, bias, basket, target, sample, self._log_q)


def full_softmax(
    interests: Tensor, vectors: Tensor, bias: Tensor, basket: Tensor, target: Tensor, low: torch.dtype | None = None
) -> Tensor:
    """Sum of the pairs' losses. ``interests`` [baskets, w], ``vectors`` [items, w], ``bias`` [items]; pairs [n].

    Memory is that of one chunk of scores, for gradients as well; time grows with baskets x items.
    """
    asking, basket, weight = torch.unique(basket, return_inverse=True, return_counts=True)
    interests = functional.embedding(asking, interests)
    total: Tensor = _Normaliser.apply(interests, vectors, bias, weight.to(interests.dtype), low or vectors.dtype)  # type: ignore[no-untyped-call]
    return total - _right(interests, vectors, bias, basket, target).sum()


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

    Taking log Q off each score makes it an unbiased stand-in for the full one (Bengio and Senecal 2008). A pair's own
    target joins the samples.
    """
    asking, basket = torch.unique(basket, return_inverse=True)
    interests = functional.embedding(asking, interests)
    right = _right(interests, vectors, bias, basket, target)
    wrong = torch.addmm((bias - log_q)[sample], interests, functional.embedding(sample, vectors).T).float()
    return (torch.logaddexp(torch.logsumexp(wrong, dim=1)[basket], right - log_q[target]) - right).sum()


def _right(interests: Tensor, vectors: Tensor, bias: Tensor, basket: Tensor, target: Tensor) -> Tensor:
    products = functional.embedding(basket, interests) * functional.embedding(target, vectors)
    return products.sum(dim=1) + functional.embedding(target, bias.unsqueeze(1)).squeeze(1)


class _Normaliser(torch.autograd.Function):
    """Weighted sum of log-sum-exp over the catalogue; gradients are made with the value, while a chunk is in cache.

    Products and chances are of type ``low``: in bfloat16 a CPU that has it is thrice as fast, and the weights learn as
    well (docs/benchmarks.md).
    """

    @staticmethod
    def forward(ctx: Any, interests: Tensor, vectors: Tensor, bias: Tensor, weight: Tensor, low: torch.dtype) -> Tensor:
        kind, width = interests.device.type, interests.shape[1]
        total = torch.zeros((), dtype=vectors.dtype, device=vectors.device)
        # The bias is one more column: a product adds it to the scores, and another makes its gradient. With a width
        # that 8 divides products are faster.
        filler = -(width + 1) % 8
        table = functional.pad(torch.cat([vectors, bias.unsqueeze(1)], dim=1), (0, filler)).to(low)
        rows = functional.pad(functional.pad(interests, (0, 1), value=1.0), (0, filler))
        top = int(bias.argmax())
        d_interests, d_vectors = torch.empty_like(interests), torch.zeros_like(table, dtype=vectors.dtype)
        with torch.autocast(kind, enabled=False):
            for start in range(0, len(rows), chunk := max(SCORES_AT_ONCE[kind] // len(vectors), 16)):
                some, share = rows[start : start + chunk], weight[start : start + chunk].unsqueeze(1)
                scores = some.to(low) @ table.T
                chances = torch.softmax(scores, dim=1)
                # Log-sum-exp from one column, that of the most popular item: its chance is never 0 in float32.
                likely = chances[:, top].to(total.dtype).clamp(min=1e-38)
                total += ((scores[:, top] - likely.log()) * share.squeeze(1)).sum()
                d_interests[start : start + chunk] = (chances @ table)[:, :width] * share
                d_vectors += chances.T @ (some * share).to(low)
        ctx.save_for_backward(d_interests, d_vectors[:, :width], d_vectors[:, width])
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return *(grad * part for part in ctx.saved_tensors), None, None

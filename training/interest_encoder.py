"""Train the interest encoder: every basket learns to name the items of the user's next one.

Deterministic for a seed, a machine and a number of threads, whatever else the machine is doing.
"""

import math
import os
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from training.sequences import next_baskets, training_sessions
from zhiyin.recommender.candidates import Context
from zhiyin.recommender.catalogue import Integers
from zhiyin.recommender.history import History
from zhiyin.recommender.interest_encoder import EncoderConfig, InterestEncoder


@dataclass(frozen=True)
class LoopConfig:
    """How it learns."""

    epochs: int = 1
    least_steps: int = 200  # a small log is read more often,
    most_epochs: int = 50  # but not until it is known by heart
    batch: int = 32  # windows of up to 256 events: about 8,000 pairs of basket and item a step
    learning_rate: float = 4e-3
    warm_learning_rate: float = 1e-3  # of an encoder that goes on from an earlier one
    weight_decay: float = 0.01
    negatives: int = 1024  # shared by a step; a catalogue of at most 4x this gets the full softmax


@dataclass(frozen=True)
class Start:
    """An earlier encoder to go on from: it was fitted on the events before ``cut`` (epoch seconds)."""

    encoder: InterestEncoder
    items: Integers  # of each of its items, the index in the catalogue of now; -1 where it left
    cut: float


def train_encoder(
    history: History,
    context: Context,
    config: EncoderConfig | None = None,
    loop: LoopConfig | None = None,
    start: Start | None = None,
) -> InterestEncoder:
    """Fit an encoder on a log; the result is in evaluation mode.

    With ``start`` it keeps what the earlier encoder knew and reads only the windows that hold events since.
    """
    config, loop = config or EncoderConfig(), loop or LoopConfig()
    torch.manual_seed(context.seed)
    torch.set_num_threads(context.threads)
    # Scattered sums add in the order in which threads come; on a busy machine that differs from run to run.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    random = torch.Generator().manual_seed(context.seed)

    counts = torch.from_numpy(history.item_counts).float()
    model = InterestEncoder(config, context.text, history.item_counts > 0)
    sessions = training_sessions(history, config.length)
    steps_an_epoch = max(-(-len(sessions) // loop.batch), 1)
    epochs = max(loop.epochs, min(-(-loop.least_steps // steps_an_epoch), loop.most_epochs))
    rate = loop.learning_rate
    # The output bias starts at what is popular: the network learns what differs from it.
    with torch.no_grad():
        model.popularity.copy_(torch.log1p(counts) - torch.log1p(counts).mean())
    if start is not None:
        model.adopt(start.encoder, torch.from_numpy(start.items))
        sessions = training_sessions(history, config.length, start.cut)
        rate = loop.warm_learning_rate
    steps = epochs * -(-len(sessions) // loop.batch)
    n_tokens = int((sessions.item >= 0).sum())
    context.progress("encoder", 0.0, f"{len(sessions):,} sequences, {n_tokens:,} events an epoch, {steps:,} steps")

    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=loop.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: one_cycle(step / max(steps, 1)))

    started, done, step, running = time.perf_counter(), 0, 0, 0.0
    for _ in range(epochs if len(sessions) else 0):
        for rows in torch.randperm(len(sessions), generator=random).split(loop.batch):  # type: ignore[no-untyped-call]
            batch = sessions.rows(rows)
            basket, target = next_baskets(batch)
            if not len(basket):
                continue
            loss = _loss(model, model(batch).flatten(0, 1), basket, target, counts, loop.negatives, random)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            step, done = step + 1, done + len(rows)
            running = float(loss.detach()) if step == 1 else 0.98 * running + 0.02 * float(loss.detach())
            if step % 10 == 0 or step == steps:
                speed = done / (time.perf_counter() - started)
                context.progress("encoder", step / steps, f"loss {running:.3f}, {speed:,.0f} sequences/s")
    return model.eval()


def one_cycle(share: float, rise: float = 0.1, low: float = 0.04) -> float:
    """Factor of the learning rate once a ``share`` of the steps is done: up to 1, then down, by half cosines."""
    climb, fall = share / rise, (share - rise) / (1 - rise)
    if share < rise:
        return low + (1 - low) * (1 - math.cos(math.pi * climb)) / 2
    return (1 + math.cos(math.pi * min(fall, 1.0))) / 2


def _loss(
    model: InterestEncoder,
    interests: Tensor,
    basket: Tensor,
    target: Tensor,
    counts: Tensor,
    negatives: int,
    random: torch.Generator,
) -> Tensor:
    """Softmax cross-entropy of the pairs, over the catalogue or over shared samples with the log-Q correction.

    ``interests`` [baskets, width]; a pair is a row of it and a target item. Samples are drawn by count; taking log Q
    off each score makes the sampled softmax an unbiased stand-in for the full one (Bengio and Senecal 2008). The
    normaliser is computed once per basket; a pair's own target joins it.
    """
    asking, basket = torch.unique(basket, return_inverse=True)
    interests = interests[asking]
    right = (interests[basket] * model.item_vectors(target)).sum(dim=1) + model.popularity[target]
    if len(counts) <= 4 * negatives:
        everything = torch.arange(len(counts))
        scores = interests @ model.item_vectors(everything).T + model.popularity
        return (torch.logsumexp(scores, dim=1)[basket] - right).mean()
    chance = counts.pow(0.75) / counts.pow(0.75).sum()
    sample = torch.multinomial(chance, negatives, replacement=True, generator=random)
    log_q = torch.log(negatives * chance)
    wrong = interests @ model.item_vectors(sample).T + (model.popularity - log_q)[sample]
    return (
        torch.logaddexp(torch.logsumexp(wrong, dim=1)[basket], right - log_q[target]) - right + log_q[target]
    ).mean()

"""Train the interest encoder: every basket learns to name the items of the user's next one.

In a pipeline ``Encoders`` calls it; on a bare machine (torch, numpy and safetensors) or on several GPUs::

    torchrun --nproc-per-node 2 -m training.interest.fit_encoder LOG.safetensors FOLDER

Deterministic for a seed, a machine and a number of threads, whatever else the machine is doing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
import torch.utils.deterministic
from torch import Tensor

from training.interest.budget import Work
from training.interest.checkpoint import Position, fingerprint, load_checkpoint, save_checkpoint
from training.interest.early_stopping import EarlyStopping
from training.interest.meter import Meter
from training.interest.processes import rank, sum_gradients, world
from training.interest.sequences import answers, next_baskets, pack, training_sequences
from training.interest.softmax import Softmax
from zhiyin.recommender.encoder.hardware import fast_bfloat16
from zhiyin.recommender.encoder.interest_encoder import EncoderConfig, InterestEncoder, Noise
from zhiyin.recommender.encoder.sequences import FlatSequences

if TYPE_CHECKING:
    from zhiyin.recommender.candidates import Context
    from zhiyin.recommender.candidates.base import FitEncoder
    from zhiyin.recommender.state.catalogue import Integers
    from zhiyin.recommender.state.history import History


MOST_RISE = 200  # steps until the learning rate is at its highest
REPEATS = 0.01  # share of a log's events that repeat an earlier one, under which users take an item only once
DROPOUT = {True: 0.1, False: 0.3}  # of a log with repeats: they are learned by heart; of one without


@dataclass(frozen=True)
class LoopConfig:
    """Settings of the training loop.

    The learning rate rises over the first steps, stays, and falls to 0 in the last ``decay`` of them: when the budget
    is nearly spent, or earlier, when the loss of held-out baskets no longer falls. While the rate falls the held-out
    baskets are trained on as well, so none is lost.
    """

    minutes: float = 2.0  # of a CPU, at most (see ``budget``)
    most_passes: float = 60  # over the log, whatever the budget
    warm_passes: float = 1.0  # of an encoder that goes on: over the windows that hold events since
    patience: int = 4  # passes without a better loss on held-out baskets before the learning rate falls
    held_out: float = 0.05  # share of the rows whose last basket is kept back until then
    decay: float = 0.3
    dropout: float | None = None  # None: ``DROPOUT``
    tokens: int = 4096  # events of a batch, padding counted
    learning_rate: float = 4e-3
    warm_learning_rate: float = 1e-3  # of an encoder that goes on from an earlier one
    weight_decay: float = 0.01
    least_events: int = 5  # an item with fewer has no id of its own and is in no softmax
    whole_catalogue: int = 40_000  # items up to which each is scored: 2 to 10 % better than samples, for more time
    negatives: int = 4096  # past that, shared by a step
    precision: Literal["float32", "bfloat16"] = "float32"  # of products, for GPUs; weights stay float32
    softmax: Literal["auto", "float32", "bfloat16"] = "auto"  # its products; auto: as the rest, or what a CPU has
    compiled: bool = False  # torch.compile, on a GPU
    save_every: int = 200  # steps between checkpoints

    def under(self, learning: Mapping[str, Any]) -> LoopConfig:
        """With a recipe's settings; of two budgets the smaller one."""
        minutes = min(self.minutes, learning.get("minutes", self.minutes))
        return replace(self, **{**learning, "minutes": minutes})


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
    checkpoint: Path | None = None,
) -> InterestEncoder:
    """Fit an encoder on a log; the result is on the CPU and in evaluation mode.

    With ``start`` it keeps what the earlier encoder knew and reads only the windows that hold events since. With
    ``checkpoint`` (a file) it goes on from there after a kill, and ends with the same weights. In a process group
    (torch.distributed) each process takes its share of every batch, and all end with the same weights.
    """
    config, loop = config or EncoderConfig(), loop or LoopConfig()
    torch.set_num_threads(context.threads)
    # Scattered sums add in the order in which threads come; on a busy machine that differs from run to run.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    # What it fills with NaN is never read; it would take a tenth of the time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.manual_seed(context.seed)

    learned = history.item_counts >= loop.least_events
    model = InterestEncoder(config, context.text, learned)
    counts = torch.from_numpy(history.item_counts[learned]).float()
    # The output bias starts at what is popular: the network learns what differs from it.
    with torch.no_grad():
        model.popularity.copy_(torch.log1p(counts) - torch.log1p(counts).mean())
    repeats = repeat_share(history) >= REPEATS
    if loop.dropout is None:
        loop = replace(loop, dropout=DROPOUT[repeats])
    sequences, rate = training_sequences(history, config.length), loop.learning_rate
    n_scored = len(counts) if len(counts) <= loop.whole_catalogue else loop.negatives
    work = Work(sequences, model, n_scored, loop.tokens, context.seed)
    passes = min(work.passes(loop.minutes), loop.most_passes)
    made_by: list[object] = [asdict(config), asdict(loop), context.seed, history.cut, history.user, history.item]
    made_by += [history.basket, history.type, history.at, context.text]
    if start is not None:
        passes = min(passes, loop.warm_passes)
        model.adopt(start.encoder, torch.from_numpy(start.items))
        sequences, rate = training_sequences(history, config.length, start.cut), loop.warm_learning_rate
        work = Work(sequences, model, n_scored, loop.tokens, context.seed)
        made_by += [start.cut, *(value.numpy() for value in model.state_dict().values())]
    if len(sequences) and learned.any():
        plan = TrainingPlan(sequences, counts, work, passes, rate, without_owned=not repeats)
        fit(model, plan, context, loop, checkpoint, fingerprint(*made_by))
    return model.cpu().eval()


def fit_within(minutes: float) -> FitEncoder:
    """The loop as the candidate generator calls it, from nothing, with this budget."""

    def fit(history: History, context: Context, config: EncoderConfig, learning: Mapping[str, Any]) -> InterestEncoder:
        return train_encoder(history, context, config, LoopConfig(minutes=minutes).under(learning))

    return fit


def repeat_share(history: History) -> float:
    """Share of a log's events whose user had the item before."""
    distinct = np.unique(history.user * len(history.item_counts) + history.item)
    return 1 - len(distinct) / max(len(history), 1)


@dataclass(frozen=True)
class TrainingPlan:
    """Data and plan of a training. ``counts`` [trained items]: events of each item; ``rate``: the top learning rate.

    ``without_owned``: where users take an item only once, an item that the user has is neither positive nor negative.
    """

    sequences: FlatSequences
    counts: Tensor
    work: Work
    passes: float
    rate: float
    without_owned: bool


def fit(
    model: InterestEncoder,
    plan: TrainingPlan,
    context: Context,
    loop: LoopConfig,
    checkpoint: Path | None = None,
    made_by: str = "",
) -> None:
    """The loop itself."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device).train()
    random = torch.Generator(device).manual_seed(context.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.rate, weight_decay=loop.weight_decay, fused=True)
    read = torch.compile(model, dynamic=True) if loop.compiled else model
    precision = torch.autocast(device.type, torch.bfloat16, enabled=loop.precision == "bfloat16")
    kind = loop.softmax
    if kind == "auto":
        kind = "bfloat16" if device.type == "cpu" and fast_bfloat16() else loop.precision
    low = torch.bfloat16 if kind == "bfloat16" else torch.float32
    counts = plan.counts.to(device)
    softmax = Softmax(counts, 0 if len(counts) <= loop.whole_catalogue else loop.negatives, low)
    lengths, sequences = plan.work.lengths, plan.sequences.to(device)
    steps = max(round(plan.passes * len(pack(lengths, loop.tokens, context.seed, 0))), 1)
    rise = min(steps // 10 + 1, MOST_RISE)
    # A plan too short for early stopping holds nothing out.
    watched = plan.passes * (1 - loop.decay) > loop.patience > 0
    stopping = EarlyStopping(
        sequences, loop.held_out if watched else 0.0, loop.tokens, context.seed, plan.without_owned
    )
    meter = Meter(device, loop.precision, context.progress)
    meter.opens(len(lengths), int(lengths.sum()), plan.passes)

    at, best = Position(decay_from=steps - round(loop.decay * steps), last=steps), dict[str, Tensor]()
    if checkpoint is not None and (found := load_checkpoint(checkpoint, made_by, model, optimizer, random)):
        at, best = found
    running = torch.tensor(at.loss, device=device)

    def keep() -> None:
        if checkpoint is not None and rank() == 0:
            save_checkpoint(checkpoint, made_by, model, optimizer, random, best, at)

    while at.step < at.last:
        batches = pack(lengths, loop.tokens, context.seed, at.epoch)
        for rows in batches[at.batch :]:
            falling = (at.last - at.step) / max(at.last - at.decay_from, 1)
            optimizer.param_groups[0]["lr"] = plan.rate * min((at.step + 1) / rise, falling, 1.0)
            batch, held = sequences.pad(rows.to(device)), stopping.held[rows].to(device) & (at.step < at.decay_from)
            pairs, owned = answers(model, batch, next_baskets(batch, held), plan.without_owned)
            n_pairs = len(pairs[0])
            # Noise and samples are those of the whole batch: they do not depend on who takes which of its rows.
            noise = Noise.draw(batch, model.config.width, loop.dropout or 0.0, random)
            sample = softmax.draw(random)
            meter.counts(len(rows), int(lengths[rows.numpy()].sum()), plan.work.of(rows.numpy()))
            if world() > 1:
                mine = torch.arange(rank(), len(rows), world(), device=device)
                batch, noise, held = sequences.pad(rows.to(device)[mine]), noise.rows(mine), held[mine]
                pairs, owned = answers(model, batch, next_baskets(batch, held), plan.without_owned)
            with precision:
                vectors = model.learned_vectors()
                interests = read(batch, vectors, noise).flatten(0, 1).to(vectors.dtype)
                loss = softmax(interests, vectors, model.popularity, *pairs, sample, owned) / max(n_pairs, 1)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            total = loss.detach()
            sum_gradients(list(model.parameters()), total)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            running = total if at.step == 0 else running.lerp(total, 0.02)
            at.batch, at.step = at.batch + 1, at.step + 1
            if at.step % 10 == 0:
                meter.report(at.step / at.last, float(running))
                context.record("encoder loss", at.step, float(running))
            if at.step == at.last:
                break
            if at.step % loop.save_every == 0 and at.batch < len(batches):
                at.loss = float(running)
                keep()
        at.epoch, at.batch, at.loss = at.epoch + 1, 0, float(running)
        if watched and at.step < at.decay_from:
            held_out_loss = stopping.loss(model, sequences)
            context.record("encoder loss on held-out baskets", at.step, held_out_loss)
            at.waited = 0 if held_out_loss < at.best else at.waited + 1
            if held_out_loss < at.best:
                at.best, at.best_step = held_out_loss, at.step
                best = {name: value.clone() for name, value in model.state_dict().items()}
            if at.waited == loop.patience:
                # Back to the best, and down from there, for as many steps as if the budget had ended it.
                model.load_state_dict(best)
                fall = max(round(at.best_step * loop.decay / (1 - loop.decay)), 1)
                at.decay_from, at.last = at.step, min(at.step + fall, steps)
        meter.report(at.step / at.last, at.loss, at.best)
        if at.step % 10:  # else it stands on the curve already
            context.record("encoder loss", at.step, at.loss)
        keep()

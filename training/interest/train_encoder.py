"""Train the interest encoder: every basket learns to name the items of the user's next one.

In a pipeline ``Encoders`` calls it; on a bare machine (torch, numpy and safetensors) or on several GPUs::

    torchrun --nproc-per-node 2 -m training.interest.fit_encoder LOG.safetensors FOLDER

Deterministic for a seed, a machine and a number of threads, whatever else the machine is doing.
"""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
import torch.utils.deterministic
from torch import Tensor

from training.interest.checkpoint import Position, fingerprint, load_checkpoint, save_checkpoint
from training.interest.early_stopping import EarlyStopping
from training.interest.flops import step_flops
from training.interest.meter import Meter
from training.interest.processes import rank, sum_gradients, world
from training.interest.sequences import learned_pairs, next_baskets, owned_items, pack, training_sequences
from training.interest.softmax import Softmax
from zhiyin.recommender.encoder.hardware import fast_bfloat16
from zhiyin.recommender.encoder.interest_encoder import EncoderConfig, InterestEncoder, Noise
from zhiyin.recommender.encoder.sequences import FlatSequences

if TYPE_CHECKING:
    from zhiyin.recommender.candidates import Context
    from zhiyin.recommender.state.catalogue import Integers
    from zhiyin.recommender.state.history import History


CPU_RATE = 4.5e10  # floating-point operations that a CPU second of training is taken for


@dataclass(frozen=True)
class LoopConfig:
    """How it learns."""

    minutes: float = 1.2  # of one CPU, at most; counted in operations at ``CPU_RATE``, so that a seed repeats exactly
    most_passes: float = 50  # over the log, whatever the budget
    patience: int = 2  # passes without a better loss on held-out baskets before the learning rate falls
    schedule: str = "wsd"  # TRIAL wsd | cycle
    decay: float = 0.3  # TRIAL
    restore: bool = True  # TRIAL
    dropout: float = 0.1
    small_log_dropout: float = 0.3  # of a log that is read more than four times
    inner_dropout: float = 0.0  # TRIAL
    id_dropout: float = 0.0  # TRIAL
    owned: bool = False  # TRIAL
    ahead: int = 1  # TRIAL
    tokens: int = 4096  # events of a batch, padding counted
    learning_rate: float = 4e-3
    warm_learning_rate: float = 1e-3  # of an encoder that goes on from an earlier one
    weight_decay: float = 0.01
    least_events: int = 1  # an item with fewer has no id of its own and is no target
    whole_catalogue: int = 30_000  # items up to which each is scored: a tenth better than samples, in twice the time
    negatives: int = 4096  # past that, shared by a step
    precision: Literal["float32", "bfloat16"] = "float32"  # of products, for GPUs; weights stay float32
    softmax: Literal["auto", "float32", "bfloat16"] = "auto"  # its products; auto: as the rest, or what a CPU has
    compiled: bool = False  # torch.compile, on a GPU
    held_out: float = 0.05  # share of the rows whose last basket is kept back until the learning rate falls
    save_every: int = 200  # steps between checkpoints


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

    learned = history.item_counts >= max(loop.least_events, 1)
    model = InterestEncoder(config, context.text, learned)
    counts = torch.from_numpy(history.item_counts[learned]).float()
    # The output bias starts at what is popular: the network learns what differs from it.
    with torch.no_grad():
        model.popularity.copy_(torch.log1p(counts) - torch.log1p(counts).mean())
    rows, rate = training_sequences(history, config.length), loop.learning_rate
    passes = plan(rows, model, loop, context.seed)
    made_by: list[object] = [asdict(config), asdict(loop), context.seed, history.cut, history.user, history.item]
    made_by += [history.basket, history.type, history.at, context.text]
    if start is not None:
        model.adopt(start.encoder, torch.from_numpy(start.items))
        rows, rate = training_sequences(history, config.length, start.cut), loop.warm_learning_rate
        made_by += [start.cut, *(value.numpy() for value in model.state_dict().values())]
    if len(rows):
        fit(model, rows, counts, context, loop, passes, rate, checkpoint, fingerprint(*made_by))
    return model.cpu().eval()


def n_scored(model: InterestEncoder, loop: LoopConfig) -> int:
    """Items that a basket's softmax scores."""
    n = len(model.learned)
    return n if n <= loop.whole_catalogue else loop.negatives


def work(lengths: Integers, baskets: Integers, batch: Integers, model: InterestEncoder, loop: LoopConfig) -> float:
    """Operations of a step that reads the rows ``batch``; ``lengths``, ``baskets`` [rows]."""
    events, breadth, n = int(lengths[batch].max()), int(baskets[batch].max()), len(model.learned)
    return step_flops(model.config, len(batch), events, breadth, n_scored(model, loop), n, model.text.shape[1])


def plan(rows: FlatSequences, model: InterestEncoder, loop: LoopConfig, seed: int) -> float:
    """Passes over the log that the budget pays for."""
    lengths, baskets = rows.lengths.numpy(), rows.baskets.diff().numpy()
    batches = pack(lengths, loop.tokens, seed, 0)
    a_pass = sum(work(lengths, baskets, batch.numpy(), model, loop) for batch in batches)
    return min(loop.minutes * 60 * CPU_RATE / max(a_pass, 1.0), loop.most_passes)


def fit(
    model: InterestEncoder,
    rows: FlatSequences,
    counts: Tensor,
    context: Context,
    loop: LoopConfig,
    passes: float,
    rate: float,
    checkpoint: Path | None = None,
    made_by: str = "",
) -> None:
    """The loop itself. ``counts`` [learned]: events of each item; ``rate``: the highest learning rate."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device).train()
    random = torch.Generator(device).manual_seed(context.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=loop.weight_decay, fused=True)
    read = torch.compile(model, dynamic=True) if loop.compiled else model
    precision = torch.autocast(device.type, torch.bfloat16, enabled=loop.precision == "bfloat16")
    kind = loop.softmax
    if kind == "auto":
        kind = "bfloat16" if device.type == "cpu" and fast_bfloat16() else loop.precision
    low = torch.bfloat16 if kind == "bfloat16" else torch.float32
    softmax = Softmax(counts.to(device), 0 if len(counts) <= loop.whole_catalogue else loop.negatives, low)
    judge = EarlyStopping(rows, loop.held_out if loop.patience else 0.0, loop.tokens, context.seed, loop.owned)
    lengths, baskets = rows.lengths.numpy(), rows.baskets.diff().numpy()
    rows = rows.to(device)
    dropout = loop.dropout if passes <= 4 else loop.small_log_dropout
    meter = Meter(device, loop.precision, context.progress)
    meter.opens(len(lengths), int(lengths.sum()), passes)
    first = len(pack(lengths, loop.tokens, context.seed, 0))
    steps = max(round(passes * first), 1)
    rise = max(steps // 10, 1) if loop.schedule == "cycle" else min(max(steps // 10, 1), 200)

    at, best = Position(decay_from=steps - round(loop.decay * steps), last=steps), dict[str, Tensor]()
    if checkpoint is not None and (found := load_checkpoint(checkpoint, made_by, model, optimizer, random)):
        at, best = found
    running = torch.tensor(at.loss, device=device)

    def keep() -> None:
        if checkpoint is not None and rank() == 0:
            save_checkpoint(checkpoint, made_by, model, optimizer, random, best, at)

    while at.step < at.last:
        batches = pack(lengths, loop.tokens, context.seed, at.epoch)
        for chosen in batches[at.batch :]:
            if loop.schedule == "cycle":
                factor = one_cycle(at.step / at.last)
            else:
                factor = min((at.step + 1) / rise, 1.0)
                if at.step >= at.decay_from:
                    factor = min(factor, (at.last - at.step) / max(at.last - at.decay_from, 1))
            optimizer.param_groups[0]["lr"] = rate * factor
            mine = chosen[rank() :: world()]
            batch = rows.pad(chosen.to(device))
            kept = judge.held[chosen].to(device) & (at.step < at.decay_from)
            n_pairs = len(learned_pairs(model, *next_baskets(batch, kept, loop.ahead))[0])
            # Noise and samples are those of the whole batch: they do not depend on who takes which of its rows.
            noise = Noise.draw(batch, model.config, dropout, loop.inner_dropout, random)
            sample = softmax.draw(random)
            flops = work(lengths, baskets, chosen.numpy(), model, loop)
            meter.counts(len(chosen), int(lengths[chosen.numpy()].sum()), flops)
            if world() > 1:
                part = torch.arange(rank(), len(chosen), world(), device=device)
                batch, noise, kept = rows.pad(mine.to(device)), noise.rows(part), kept[part]
            with precision:
                vectors = model.learned_vectors()
                if loop.id_dropout:
                    stay = torch.rand(len(vectors), 1, device=device, generator=random) >= loop.id_dropout
                    vectors = vectors - model.ids.weight * ~stay
                interests = read(batch, vectors, noise).flatten(0, 1).to(vectors.dtype)
                pairs = learned_pairs(model, *next_baskets(batch, kept, loop.ahead))
                owned = None
                if loop.owned:
                    owned = learned_pairs(model, *owned_items(batch))
                    n = len(vectors)
                    new = ~torch.isin(pairs[0] * n + pairs[1], owned[0] * n + owned[1])
                    pairs = pairs[0][new], pairs[1][new]
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
            if at.step >= at.last:
                break
            if at.step % loop.save_every == 0 and at.batch < len(batches):
                at.loss = float(running)
                keep()
        at.epoch, at.batch, at.loss = at.epoch + 1, 0, float(running)
        if loop.patience and (at.step < at.decay_from or loop.schedule == "cycle"):
            judged = judge.loss(model, rows)
            context.record("encoder loss on held-out baskets", at.step, judged)
            at.waited = 0 if judged < at.best else at.waited + 1
            if judged < at.best:
                at.best, at.best_step = judged, at.step
                best = {name: value.clone() for name, value in model.state_dict().items()}
            if at.waited >= loop.patience:
                if loop.schedule == "cycle":
                    at.last = at.step
                else:
                    if loop.restore:
                        model.load_state_dict(best)
                    at.decay_from = at.step
                    at.last = min(at.step + max(round(loop.decay / (1 - loop.decay) * at.best_step), 1), steps)
        meter.report(min(at.step / at.last, 1.0), at.loss, at.best)
        if at.step % 10:  # else it stands on the curve already
            context.record("encoder loss", at.step, at.loss)
        keep()
    if best and loop.schedule == "cycle":
        model.load_state_dict(best)


def one_cycle(share: float, rise: float = 0.1, low: float = 0.04) -> float:
    """Factor of the learning rate once a ``share`` of the steps is done: up to 1, then down, by half cosines."""
    climb, fall = share / rise, (share - rise) / (1 - rise)
    if share < rise:
        return low + (1 - low) * (1 - math.cos(math.pi * climb)) / 2
    return (1 + math.cos(math.pi * min(fall, 1.0))) / 2

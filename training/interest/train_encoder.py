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
from training.interest.meter import Meter
from training.interest.processes import rank, sum_gradients, world
from training.interest.sequences import next_baskets, pack, training_sequences
from training.interest.softmax import Softmax
from zhiyin.recommender.encoder.hardware import fast_bfloat16
from zhiyin.recommender.encoder.interest_encoder import EncoderConfig, InterestEncoder, Noise
from zhiyin.recommender.encoder.sequences import PaddedSequences

if TYPE_CHECKING:
    from zhiyin.recommender.candidates import Context
    from zhiyin.recommender.state.catalogue import Integers
    from zhiyin.recommender.state.history import History


@dataclass(frozen=True)
class LoopConfig:
    """How it learns."""

    epochs: int = 1
    least_steps: int = 500  # about; a small log is read more often,
    most_epochs: int = 50  # but not until it is known by heart
    dropout: float = 0.1
    small_log_dropout: float = 0.3  # of a log that is read more than four times
    tokens: int = 4096  # events of a batch, padding counted
    learning_rate: float = 4e-3
    warm_learning_rate: float = 1e-3  # of an encoder that goes on from an earlier one
    weight_decay: float = 0.01
    whole_catalogue: int = 30_000  # items up to which each is scored: a tenth better than samples, in twice the time
    negatives: int = 4096  # past that, shared by a step
    precision: Literal["float32", "bfloat16"] = "float32"  # of products, for GPUs; weights stay float32
    softmax: Literal["auto", "float32", "bfloat16"] = "auto"  # its products; auto: as the rest, or what a CPU has
    compiled: bool = False  # torch.compile, on a GPU
    held_out: float = 0.1  # share of users whose last basket judges the epochs where there is ``patience``
    patience: int = 0  # epochs without a better loss on those before it stops; 0: all epochs, all baskets learn
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

    model = InterestEncoder(config, context.text, history.item_counts > 0)
    counts = torch.from_numpy(history.item_counts).float()
    # The output bias starts at what is popular: the network learns what differs from it.
    with torch.no_grad():
        model.popularity.copy_(torch.log1p(counts) - torch.log1p(counts).mean())
    sequences, rate = training_sequences(history, config.length), loop.learning_rate
    steps_an_epoch = max(-(-int((sequences.item >= 0).sum()) // loop.tokens), 1)
    epochs = max(loop.epochs, min(round(loop.least_steps / steps_an_epoch), loop.most_epochs))
    made_by: list[object] = [asdict(config), asdict(loop), context.seed, history.cut, history.user, history.item]
    made_by += [history.basket, history.type, history.at, context.text]
    if start is not None:
        model.adopt(start.encoder, torch.from_numpy(start.items))
        sequences, rate = training_sequences(history, config.length, start.cut), loop.warm_learning_rate
        made_by += [start.cut, *(value.numpy() for value in model.state_dict().values())]
    if len(sequences):
        fit(model, sequences, counts, context, loop, epochs, rate, checkpoint, fingerprint(*made_by))
    return model.cpu().eval()


def fit(
    model: InterestEncoder,
    sequences: PaddedSequences,
    counts: Tensor,
    context: Context,
    loop: LoopConfig,
    epochs: int,
    rate: float,
    checkpoint: Path | None = None,
    made_by: str = "",
) -> None:
    """The loop itself. ``counts`` [items]: how often each was bought; ``rate``: the highest learning rate."""
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
    judge = EarlyStopping(sequences, loop.held_out if loop.patience else 0.0, loop.tokens, context.seed)
    lengths = (sequences.item >= 0).sum(dim=1).numpy()
    sequences = sequences.to(device)
    dropout = loop.dropout if epochs <= 4 else loop.small_log_dropout
    meter = Meter(model, softmax.n_scored, loop.precision, context.progress)
    meter.opens(len(lengths), int(lengths.sum()), epochs)

    at, best = Position(), dict[str, Tensor]()
    if checkpoint is not None and (found := load_checkpoint(checkpoint, made_by, model, optimizer, random)):
        at, best = found
    running = torch.tensor(at.loss, device=device)

    def keep() -> None:
        if checkpoint is not None and rank() == 0:
            save_checkpoint(checkpoint, made_by, model, optimizer, random, best, at)

    while at.epoch < epochs and not (loop.patience and at.waited >= loop.patience):
        batches = pack(lengths, loop.tokens, context.seed, at.epoch)
        for rows in batches[at.batch :]:
            optimizer.param_groups[0]["lr"] = rate * one_cycle((at.epoch + at.batch / len(batches)) / epochs)
            batch = sequences.rows(rows.to(device))
            held = judge.held[rows].to(device)
            n_pairs = len(next_baskets(batch, held)[0])
            # Noise and samples are those of the whole batch: they do not depend on who takes which of its rows.
            noise = Noise.draw(batch, model.config.width, dropout, random)
            sample = softmax.draw(random)
            meter.counts(batch)
            if world() > 1:
                mine = torch.arange(rank(), len(rows), world(), device=device)
                batch, noise, held = batch.rows(mine), noise.rows(mine), held[mine]
            with precision:
                vectors = model.item_vectors()
                interests = read(batch, vectors, noise).flatten(0, 1).to(vectors.dtype)
                pairs = next_baskets(batch, held)
                loss = softmax(interests, vectors, model.popularity, *pairs, sample) / max(n_pairs, 1)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            total = loss.detach()
            sum_gradients(list(model.parameters()), total)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            running = total if at.step == 0 else running.lerp(total, 0.02)
            at.batch, at.step = at.batch + 1, at.step + 1
            if at.step % 10 == 0:
                meter.report((at.epoch + at.batch / len(batches)) / epochs, float(running))
                context.record("encoder loss", at.step, float(running))
            if at.step % loop.save_every == 0 and at.batch < len(batches):
                at.loss = float(running)
                keep()
        at.epoch, at.batch, at.loss = at.epoch + 1, 0, float(running)
        if loop.patience:
            judged = judge.loss(model, sequences)
            context.record("encoder loss on held-out baskets", at.step, judged)
            at.waited = 0 if judged < at.best else at.waited + 1
            if judged < at.best:
                at.best, best = judged, {name: value.clone() for name, value in model.state_dict().items()}
        meter.report(at.epoch / epochs, at.loss, at.best)
        if at.step % 10:  # else it stands on the curve already
            context.record("encoder loss", at.step, at.loss)
        keep()
    if best:
        model.load_state_dict(best)


def one_cycle(share: float, rise: float = 0.1, low: float = 0.04) -> float:
    """Factor of the learning rate once a ``share`` of the steps is done: up to 1, then down, by half cosines."""
    climb, fall = share / rise, (share - rise) / (1 - rise)
    if share < rise:
        return low + (1 - low) * (1 - math.cos(math.pi * climb)) / 2
    return (1 + math.cos(math.pi * min(fall, 1.0))) / 2

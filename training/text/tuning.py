"""Fine-tune a text encoder on a log: the vectors of documents that users take together move closer.

InfoNCE over pairs with in-batch negatives (van den Oord et al. 2018, arXiv:1807.03748; for sentence encoders: SimCSE,
Gao et al. 2021, arXiv:2104.08821), with the log-Q correction for sampling frequency (Yi et al. 2019, RecSys). LoRA: Hu
et al. 2021 (arXiv:2106.09685). Deterministic for a seed, a machine and a
number of threads.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.utils.deterministic
from torch.nn import functional

from training.text.pairs import Pairs
from training.text.schedule import one_cycle
from zhiyin.recommender.candidates.base import Progress
from zhiyin.recommender.encoder.hardware import fast_bfloat16
from zhiyin.recommender.encoder.text_encoder import TextEncoder

Method = Literal["full", "lora"]


@dataclass(frozen=True)
class TuningConfig:
    """Settings of the fine-tuning."""

    steps: int = 60  # three CPU minutes for short titles (docs/lab/text.md)
    pairs: int = 128  # of a step
    temperature: float = 0.05
    learning_rate: float = 1e-4
    lora_learning_rate: float = 1e-3
    lora_rank: int = 16


def fine_tune(
    encoder: TextEncoder,
    documents: Sequence[str],
    pairs: Pairs,
    method: Method,
    seed: int,
    progress: Progress,
    config: TuningConfig | None = None,
) -> None:
    """Fine-tune a float32 encoder in place; ``lora`` learns low-rank updates and merges them at the end."""
    config = config or TuningConfig()
    make_deterministic(seed)
    random = np.random.default_rng(seed)
    model = encoder.model
    rate = config.learning_rate
    if method == "lora":
        from peft import LoraConfig, get_peft_model

        encoder.model = get_peft_model(
            model, LoraConfig(r=config.lora_rank, lora_alpha=2 * config.lora_rank, target_modules="all-linear")
        )
        rate = config.lora_learning_rate
    else:
        # Word embeddings stay fixed: words that the log lacks keep their relation to others, and half of the weights
        # need no gradient.
        model.get_input_embeddings().weight.requires_grad_(False)
    encoder.model.eval()  # without dropout: the sampling of pairs regularises enough
    learned = [weights for weights in encoder.model.parameters() if weights.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=rate, weight_decay=0.01, fused=True)
    tokens = encoder.tokenize(documents)
    lengths, place = np.array([len(ids) for ids in tokens]), np.zeros(len(tokens), np.int64)
    log_q = torch.from_numpy(np.log(np.maximum(pairs.chance, 1e-12))).float().to(encoder.device)
    running = 0.0
    for step in range(config.steps):
        one, other, together = pairs.draw(config.pairs, random)
        # Each document once, sorted by length to reduce padding.
        distinct = np.unique(np.concatenate([one, other]))
        distinct = distinct[np.argsort(lengths[distinct], kind="stable")]
        with autocast(encoder):
            split = np.array_split(distinct, min(4, len(distinct)))
            parts = [encoder.vectors([tokens[index] for index in part]) for part in split]
        place[distinct] = np.arange(len(distinct))
        left, right = (torch.cat(parts)[torch.from_numpy(place[side]).to(encoder.device)] for side in (one, other))
        scores = left @ right.T / config.temperature - log_q[torch.from_numpy(other)]
        scores = scores.masked_fill(torch.from_numpy(together).to(encoder.device), -torch.inf)
        loss = functional.cross_entropy(scores, torch.arange(config.pairs, device=encoder.device))
        optimizer.param_groups[0]["lr"] = rate * one_cycle(step / config.steps)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        running = mean_of_late(running, float(loss.detach()), step)
        progress("fine-tune", (step + 1) / config.steps, f"loss {running:.3f}")
    if method == "lora":
        encoder.model = encoder.model.merge_and_unload()
    encoder.model.requires_grad_(True)


def make_deterministic(seed: int) -> None:
    """The same weights from the same seed, machine and number of threads."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.manual_seed(seed)


def autocast(encoder: TextEncoder) -> torch.autocast:
    """Products in bfloat16 where the hardware multiplies it; weights stay float32."""
    return torch.autocast(encoder.device, torch.bfloat16, enabled=encoder.device == "cuda" or fast_bfloat16())


def mean_of_late(mean: float, value: float, step: int) -> float:
    """A running mean of about twenty steps."""
    return mean + (value - mean) * max(0.05, 1 / (step + 1))

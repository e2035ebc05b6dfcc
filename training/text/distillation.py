"""A smaller text encoder: the first layers of a larger one, trained to reproduce its vectors (distillation).

Distillation: Hinton et al. 2015 (arXiv:1503.02531). Dropping layers: Sajjad et al. 2023 (arXiv:2004.03844). The loss
is the squared distance of unit vectors, 2 - 2 cos, as in Reimers and Gurevych 2020 (arXiv:2004.09813).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from training.text.schedule import one_cycle
from training.text.tuning import autocast, make_deterministic, mean_of_late
from zhiyin.recommender.candidates.base import Progress
from zhiyin.recommender.encoder.text_encoder import TextEncoder
from zhiyin.recommender.state.catalogue import Floats, Integers


@dataclass(frozen=True)
class DistillationConfig:
    """Settings of the distillation."""

    passes: int = 10  # over the documents
    documents: int = 128  # of a step
    learning_rate: float = 3e-4


def prune(encoder: TextEncoder, layers: int) -> None:
    """Keep the first ``layers`` layers, in place.

    Raises:
        ValueError: the encoder has fewer.
    """
    config = encoder.model.config
    if layers > config.num_hidden_layers:
        raise ValueError(f"text_layers is {layers}, but the encoder has {config.num_hidden_layers}; take no more")
    for module in list(encoder.model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ModuleList) and len(child) == config.num_hidden_layers:
                setattr(module, name, child[:layers])
    config.num_hidden_layers = layers
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:layers]


def distil(
    encoder: TextEncoder,
    documents: Sequence[str],
    vectors: Floats,
    seed: int,
    progress: Progress,
    config: DistillationConfig | None = None,
) -> None:
    """Train a float32 encoder, in place, to reproduce the ``vectors`` [documents, d] of another."""
    config = config or DistillationConfig()
    make_deterministic(seed)
    random = np.random.default_rng(seed)
    encoder.model.get_input_embeddings().weight.requires_grad_(False)
    learned = [weights for weights in encoder.model.parameters() if weights.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=config.learning_rate, weight_decay=0.01, fused=True)
    tokens, wanted = encoder.tokenize(documents), torch.from_numpy(vectors).to(encoder.device)
    # A batch has documents of similar length, so that padding is small; batches are drawn anew each epoch.
    lengths = np.array([len(ids) for ids in tokens])
    batches: list[Integers] = []
    for _ in range(config.passes):
        order = np.argsort(lengths * random.uniform(0.8, 1.2, len(lengths)), kind="stable")
        places = range(0, len(order), config.documents)
        batches += [order[place : place + config.documents] for place in random.permutation(places)]
    running = 0.0
    for step, batch in enumerate(batches):
        with autocast(encoder):
            given = encoder.vectors([tokens[document] for document in batch])
        loss = (given - wanted[torch.from_numpy(batch)]).square().sum(dim=1).mean()
        optimizer.param_groups[0]["lr"] = config.learning_rate * one_cycle(step / len(batches))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        running = mean_of_late(running, float(loss.detach()), step)
        progress("distil", (step + 1) / len(batches), f"cosine {1 - running / 2:.4f}")
    encoder.model.requires_grad_(True)

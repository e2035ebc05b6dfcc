"""The text tower in ONNX Runtime, for the table of benchmarks/compression.py; ``pip install '.[onnx]'`` first."""

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from zhiyin.recommender.encoder.text_encoder import TextEncoder


class Pooled(nn.Module):
    """Tokens to vectors in one graph.

    The mask is given its four axes here, so that none of the branches by which transformers makes them is exported.
    """

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__()
        self.model = encoder.model
        self.first = encoder.pooling == "cls"

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        hidden = self.model(input_ids=ids, attention_mask=mask[:, None, None, :] > 0).last_hidden_state
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        pooled = hidden[:, 0] if self.first else (hidden * weights).sum(dim=1) / weights.sum(dim=1)
        return functional.normalize(pooled, dim=1)


def example(encoder: TextEncoder) -> tuple[Tensor, Tensor]:
    """Token ids and mask [3, tokens], two of the texts padded."""
    return encoder.padded(encoder.tokenize(["whole milk", "milk", "frozen pizza, deep dish"]))


def export(encoder: TextEncoder, path: Path) -> None:
    """Write an encoder of precision float32 as ONNX, any number of texts of any length."""
    free = {0: torch.export.Dim("texts"), 1: torch.export.Dim("tokens", max=256)}
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Pooled(encoder).eval(),
            example(encoder),
            path,
            input_names=["ids", "mask"],
            output_names=["vectors"],
            dynamic_shapes=(free, free),
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def quantize(path: Path, target: Path) -> None:
    """Weights in int8 by channel; inputs of products are quantized as they come."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.getLogger().setLevel(logging.ERROR)  # it warns of what it does by itself
    quantize_dynamic(path, target, weight_type=QuantType.QInt8, per_channel=True)


class OnnxEncoder(TextEncoder):
    """A text encoder whose vectors come from an exported file."""

    def __init__(self, name: str, threads: int, path: Path) -> None:
        import onnxruntime

        super().__init__(name, threads, "float32")
        self.model, self.path = None, path  # its weights are in the file
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # it would burn what others need
        self.session: Any = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def vectors(self, batch: list[list[int]]) -> Tensor:
        ids, mask = self.padded(batch)
        (vectors,) = self.session.run(None, {"ids": ids.numpy(), "mask": mask.numpy()})
        return torch.from_numpy(np.asarray(vectors, np.float32))

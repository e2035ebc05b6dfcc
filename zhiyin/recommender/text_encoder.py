"""Sentence vectors of item documents, by any transformers encoder."""

import importlib.util
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer

from zhiyin.recommender.catalogue import Floats
from zhiyin.recommender.hardware import fast_bfloat16
from zhiyin.store import file_digest, json_digest, read_json

TOKENS_A_BATCH = 8_192  # padded; keeps activations in cache-sized pieces on a CPU and is plenty for a small GPU job
TOKENS_UNPADDED = 1_024  # a batch of so many tokens of one length rather ends than takes padding
LONGEST = 256

Precision = Literal["auto", "float32", "bfloat16", "int8"]


def model_folder(name: str) -> str:
    """Where a model lies: a folder, an installed package with a ``model`` folder inside, or else a hub id."""
    if Path(name).is_dir():
        return name
    if name.isidentifier() and (spec := importlib.util.find_spec(name)) and spec.submodule_search_locations:
        folder = Path(next(iter(spec.submodule_search_locations))) / "model"
        if folder.is_dir():
            return str(folder)
    return name


class TextEncoder:
    """An encoder with the pooling that its files ask for (mean unless they say CLS) and unit-length vectors.

    ``precision``: ``auto`` is bfloat16 where the hardware multiplies it, else float32; ``int8`` (weights, and inputs of
    linear layers as they come) is for CPUs and costs accuracy: see docs/benchmarks.md. ``compiled``: torch.compile,
    worth its minutes on a GPU with many documents.
    """

    def __init__(self, name: str, threads: int = 1, precision: Precision = "auto", compiled: bool = False) -> None:
        torch.set_num_threads(threads)
        folder = model_folder(name)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        if precision == "auto":
            precision = "bfloat16" if self.device == "cuda" or fast_bfloat16() else "float32"
        if precision == "int8" and self.device != "cpu":
            raise ValueError("precision int8 is for CPUs; on a GPU take bfloat16")
        self.precision: Precision = precision
        dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        self._tokens = AutoTokenizer.from_pretrained(folder)
        model = AutoModel.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa").to(self.device).eval()
        self._dimensions = int(model.config.hidden_size)
        if precision == "int8":
            model = _quantized(model)
        self._model: Any = torch.compile(model, dynamic=True) if compiled else model
        pooling = Path(folder) / "1_Pooling" / "config.json"
        self._first_token = pooling.is_file() and bool(read_json(pooling).get("pooling_mode_cls_token"))
        weights = sorted(Path(folder).glob("*.safetensors")) if Path(folder).is_dir() else []
        self.digest = json_digest([name, self._first_token, self.precision, [file_digest(file) for file in weights]])
        """Names the model, its weights, pooling and precision: vectors under one digest can be compared."""

    @property
    def dimensions(self) -> int:
        return self._dimensions

    @torch.inference_mode()
    def encode(self, texts: Sequence[str], progress: Callable[[int], None] = lambda done: None) -> Floats:
        """Float32 [texts, d] in the order given, of the first 256 tokens; ``progress`` hears how many are done."""
        tokens = [ids[:LONGEST] for ids in self._tokens(list(texts))["input_ids"]] if texts else []
        vectors = np.zeros((len(texts), self.dimensions), np.float32)
        # By length, so that a batch holds hardly any padding; ties by position keep it deterministic.
        order = sorted(range(len(tokens)), key=lambda index: len(tokens[index]))
        at = 0
        while at < len(order):
            size = 1
            shortest = len(tokens[order[at]])
            while at + size < len(order) and (size + 1) * (longest := len(tokens[order[at + size]])) <= TOKENS_A_BATCH:
                if longest > shortest and size * shortest >= TOKENS_UNPADDED:
                    break
                size += 1
            chosen = order[at : at + size]
            vectors[chosen] = self._encode([tokens[index] for index in chosen])
            at += size
            progress(at)
        return vectors

    def _encode(self, batch: list[list[int]]) -> Floats:
        width = max(len(ids) for ids in batch)
        ids = torch.tensor([row + [self._tokens.pad_token_id] * (width - len(row)) for row in batch])
        lengths = torch.tensor([len(row) for row in batch]).unsqueeze(1)
        mask = (torch.arange(width).unsqueeze(0) < lengths).long()
        seen = None if int(lengths.min()) == width else mask.to(self.device)
        hidden = self._model(input_ids=ids.to(self.device), attention_mask=seen).last_hidden_state.float()
        if self._first_token:
            pooled = hidden[:, 0]
        else:
            weights = mask.to(self.device).unsqueeze(-1).float()
            pooled = (hidden * weights).sum(dim=1) / weights.sum(dim=1)
        return np.asarray(functional.normalize(pooled, dim=1).cpu().numpy())


def _quantized(model: nn.Module) -> nn.Module:
    """Linear layers with int8 weights; their inputs are quantized as they come, by each batch's range."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # this way to quantize leaves torch one day; until then it has no other here
        quantized: nn.Module = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, torch.qint8)  # type: ignore[no-untyped-call]
    return quantized

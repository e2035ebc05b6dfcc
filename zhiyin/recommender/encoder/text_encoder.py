"""Sentence vectors of item documents, by any transformers encoder (Sentence-BERT: Reimers and Gurevych 2019,
arXiv:1908.10084)."""

import hashlib
import importlib.util
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer

from zhiyin.recommender.encoder.hardware import fast_bfloat16
from zhiyin.recommender.state.catalogue import Floats
from zhiyin.store import read_json, write_json

TOKENS_A_BATCH = 8_192  # padded; keeps activations in cache-sized pieces on a CPU and is plenty for a small GPU job
TOKENS_UNPADDED = 1_024  # a batch of so many tokens of one length rather ends than takes padding
LONGEST = 256
POOLING = Path("1_Pooling") / "config.json"  # where sentence-transformers keeps it
UNDERSTOOD = ("Transformer", "Pooling", "Normalize")  # of the modules that its modules.json may list

Precision = Literal["auto", "float32", "bfloat16", "int8"]
Pooling = Literal["mean", "cls"]


def model_folder(name: str) -> str:
    """Where a model lies: a folder, an installed package with a ``model`` folder inside, or else a hub id."""
    if Path(name).is_dir():
        return name
    if name.isidentifier() and (spec := importlib.util.find_spec(name)) and spec.submodule_search_locations:
        folder = Path(next(iter(spec.submodule_search_locations))) / "model"
        if folder.is_dir():
            return str(folder)
    return name


def pooling_of(folder: str) -> Pooling:
    """What the model's files say: mean unless they say CLS.

    Raises:
        ValueError: they ask for a pooling or a further layer that we do not have.
    """
    modules = Path(folder) / "modules.json"
    for module in read_json(modules) if modules.is_file() else []:
        if module["type"].rpartition(".")[2] not in UNDERSTOOD:
            raise ValueError(f"{modules}: asks for {module['type']}; take an encoder without it")
    path = Path(folder) / POOLING
    said = read_json(path) if path.is_file() else {}
    modes = [key.removeprefix("pooling_mode_") for key, on in said.items() if key.startswith("pooling_mode_") and on]
    modes = modes or [said.get("pooling_mode", "mean")]
    if modes in (["cls_token"], ["cls"]):
        return "cls"
    if modes in (["mean_tokens"], ["mean"]):
        return "mean"
    raise ValueError(f"{path}: asks for {', '.join(modes)}; pooling is mean or CLS")


class TextEncoder:
    """An encoder with the pooling that its files ask for and unit-length vectors.

    ``precision``: ``auto`` is bfloat16 where the hardware multiplies it, else float32; ``int8`` (weights, and inputs of
    linear layers as they come) is for CPUs and costs accuracy: see docs/lab/text.md.
    """

    def __init__(self, name: str, threads: int = 1, precision: Precision = "auto") -> None:
        torch.set_num_threads(threads)
        folder = model_folder(name)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        if precision == "auto":
            precision = "bfloat16" if self.device == "cuda" or fast_bfloat16() else "float32"
        if precision == "int8" and self.device != "cpu":
            raise ValueError("precision int8 is for CPUs; on a GPU take bfloat16")
        self.precision: Precision = precision
        self.pooling = pooling_of(folder)
        dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.model: Any = AutoModel.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa")
        self.model = self.model.to(self.device).eval()
        self.dimensions = int(self.model.config.hidden_size)
        positions = getattr(self.model.config, "max_position_embeddings", None) or LONGEST
        self._longest = min(LONGEST, positions, self.tokenizer.model_max_length)
        self.digest = self._digest()
        """Names weights, tokens, pooling and precision, wherever they lie: vectors of one digest can be compared."""
        if precision == "int8":
            self.model = _quantized(self.model)

    def compile(self) -> None:
        """By torch.compile: its minute is worth it on a GPU with many documents to come."""
        self.model = torch.compile(self.model, dynamic=True)

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, cut to 256 or to what the model can read, the closing token kept."""
        if not texts:
            return []
        ids: list[list[int]] = self.tokenizer(list(texts), truncation=True, max_length=self._longest)["input_ids"]
        return ids

    @torch.inference_mode()
    def encode(self, texts: Sequence[str], progress: Callable[[int], None] = lambda done: None) -> Floats:
        """Float32 [texts, d] in the order given; ``progress`` hears how many are done."""
        tokens = self.tokenize(texts)
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
            vectors[chosen] = self.vectors([tokens[index] for index in chosen]).cpu().numpy()
            at += size
            progress(at)
        return vectors

    def vectors(self, batch: list[list[int]]) -> Tensor:
        """Float32 [texts, d] of unit length, on the encoder's device, with gradients where they are on."""
        ids, mask = (grid.to(self.device) for grid in self.padded(batch))
        seen = None if min(map(len, batch)) == ids.shape[1] else mask
        hidden = self.model(input_ids=ids, attention_mask=seen).last_hidden_state.float()
        if self.pooling == "cls":
            pooled = hidden[:, 0]
        else:
            weights = mask.unsqueeze(-1).float()
            pooled = (hidden * weights).sum(dim=1) / weights.sum(dim=1)
        return functional.normalize(pooled, dim=1)

    def padded(self, batch: list[list[int]]) -> tuple[Tensor, Tensor]:
        """Token ids, padded to the longest, and their mask: int64 [texts, tokens] each."""
        width = max(len(ids) for ids in batch)
        padding = self.tokenizer.pad_token_id or 0
        ids = torch.tensor([row + [padding] * (width - len(row)) for row in batch])
        lengths = torch.tensor([len(row) for row in batch]).unsqueeze(1)
        return ids, (torch.arange(width).unsqueeze(0) < lengths).long()

    def save(self, folder: Path) -> None:
        """Write a transformers folder, with its pooling as sentence-transformers keeps it."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        (folder / POOLING).parent.mkdir()
        modes = {f"pooling_mode_{mode}": mode.startswith(self.pooling) for mode in ("cls_token", "mean_tokens")}
        write_json(folder / POOLING, {"word_embedding_dimension": self.dimensions, **modes})

    def _digest(self) -> str:
        digest = hashlib.sha256()
        shape = {key: value for key, value in self.model.config.to_dict().items() if not key.startswith("_")}
        shape.pop("transformers_version", None)
        for fact in (shape, self.tokenizer.backend_tokenizer.to_str(), self._longest, self.pooling, self.precision):
            digest.update(repr(fact).encode())
        for name, weights in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(weights.cpu().contiguous().view(torch.uint8).numpy())
        return digest.hexdigest()


def _quantized(model: nn.Module) -> nn.Module:
    """Linear layers with int8 weights; their inputs are quantized as they come, by each batch's range."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # this way to quantize leaves torch one day; until then it has no other here
        quantized: nn.Module = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, torch.qint8)  # type: ignore[no-untyped-call]
    return quantized

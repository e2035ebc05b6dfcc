"""Document vectors of the catalogue, from a cache keyed by document digest."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from safetensors.numpy import load_file

from training.data import read_catalogue
from zhiyin.recommender.candidates.base import Progress, silent
from zhiyin.recommender.encoder.text_encoder import TextEncoder
from zhiyin.recommender.state.catalogue import Catalogue, Floats
from zhiyin.settings import Settings
from zhiyin.store import atomic_file, write_arrays
from zhiyin.warehouse import Marts

DIMENSIONS = 128  # of the standardised vectors; further axes are mostly noise on short texts

WORTH_COMPILING = 100_000  # documents, on a GPU


@dataclass(frozen=True)
class EncodeReport:
    """What was done: distinct documents, how many of them were encoded now, and the encoder's digest."""

    documents: int
    encoded: int
    encoder: str


def encode_items(settings: Settings, marts: Marts, tower: str, progress: Progress = silent) -> EncodeReport:
    """Encode new documents: one vector per distinct document, kept under the digest of the encoder named ``tower``."""
    documents = read_catalogue(marts).table["document"]
    return _encode(settings, documents, tower, progress)[0]


def document_vectors(
    settings: Settings, catalogue: Catalogue, tower: str, progress: Progress = silent
) -> tuple[Floats, str]:
    """Float32 [items, d]: the sentence vector of each item's document; and the digest of the encoder."""
    report, vectors = _encode(settings, catalogue.table["document"], tower, progress)
    return vectors, report.encoder


@dataclass(frozen=True)
class TextBasis:
    """PCA whitening of document vectors (Su et al. 2021, arXiv:2103.15316): ``mean`` [d], ``axes`` [d, up to 128]."""

    mean: npt.NDArray[np.float64]
    axes: npt.NDArray[np.float64]

    @classmethod
    def of(cls, vectors: Floats) -> Self:
        mean = vectors.mean(axis=0, dtype=np.float64)
        centred = vectors - mean
        values, axes = np.linalg.eigh(centred.T @ centred / len(centred))
        chosen = np.argsort(values)[::-1][: min(DIMENSIONS, int((values > 1e-9).sum()))]
        axes = axes[:, chosen]
        axes *= np.sign(axes[np.argmax(np.abs(axes), axis=0), np.arange(axes.shape[1])])  # eigenvectors have no sign
        return cls(mean, axes / np.sqrt(values[chosen]))

    def standardise(self, vectors: Floats) -> Floats:
        """Vectors [items, d] on the axes: float32 [items, up to 128], in half precision as the bundle keeps them."""
        return ((vectors - self.mean) @ self.axes).astype(np.float16).astype(np.float32)

    def save(self, path: Path) -> None:
        write_arrays(path, {"mean": self.mean, "axes": self.axes})

    @classmethod
    def load(cls, path: Path) -> Self:
        return cls(**load_file(path))


def _encode(
    settings: Settings, documents: pa.ChunkedArray, tower: str, progress: Progress
) -> tuple[EncodeReport, Floats]:
    texts = pc.fill_null(documents.cast(pa.string()), "").to_pylist()
    distinct = sorted(set(texts))
    digests = {text: hashlib.sha256(text.encode()).hexdigest() for text in distinct}
    encoder = TextEncoder(tower, settings.threads, settings.text_precision)
    path = settings.encodings / f"{encoder.digest[:16]}.parquet"
    known: dict[str, int] = {}
    vectors = np.empty((0, encoder.dimensions), np.float32)
    if path.exists():
        cache = pq.read_table(path)
        known = {digest: row for row, digest in enumerate(cache["digest"].to_pylist())}
        flat = cache["vector"].combine_chunks().flatten().to_numpy()
        vectors = flat.reshape(len(known), encoder.dimensions)
    fresh = [text for text in distinct if digests[text] not in known]
    if fresh:
        note = f"{len(fresh):,} of {len(distinct):,} documents are new"
        if encoder.device == "cuda" and len(fresh) >= WORTH_COMPILING:
            encoder.compile()
        added = encoder.encode(fresh, lambda done: progress("encode", done / len(fresh), note))
        known |= {digests[text]: len(vectors) + row for row, text in enumerate(fresh)}
        vectors = np.concatenate([vectors, added])
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), encoder.dimensions)
        with atomic_file(path) as temporary:
            pq.write_table(pa.table({"digest": list(known), "vector": column}), temporary)
    rows = np.array([known[digests[text]] for text in texts], np.int64)
    return EncodeReport(len(distinct), len(fresh), encoder.digest), vectors[rows]

"""Fine-tuned and distilled text encoders ("towers"), made as the settings ask.

``text_tuning`` fine-tunes it on the log, ``text_layers`` distils it. The result is a transformers folder under
``settings.text_towers``, named by its digest; ``find_tower`` gives the one that a run may read, and any other home can
point ``ZHIYIN_TEXT_ENCODER`` at it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from training.data import read_catalogue
from training.text.distillation import distil, prune
from training.text.pairs import Pairs
from training.text.tuning import TuningConfig, fine_tune
from zhiyin.clock import Clock
from zhiyin.contract import INTERACTIONS
from zhiyin.recommender.candidates.base import Progress, silent
from zhiyin.recommender.encoder.text_encoder import TextEncoder
from zhiyin.recommender.state.catalogue import Catalogue
from zhiyin.recommender.state.history import History, read_interactions
from zhiyin.settings import Settings
from zhiyin.store import MANIFEST, publish_by_digest, read_json, write_manifest
from zhiyin.warehouse import Marts


def wanted(settings: Settings) -> bool:
    """Whether the settings ask for fine-tuning or distillation."""
    return settings.text_tuning != "off" or settings.text_layers is not None


def adapt(
    settings: Settings,
    history: History,
    catalogue: Catalogue,
    progress: Progress = silent,
    tuning: TuningConfig | None = None,
) -> TextEncoder:
    """The encoder that the settings ask for, in float32, trained on ``history`` alone.

    Raises:
        ValueError: the log holds no pairs, or the encoder has fewer layers than asked for.
    """
    documents, document = distinct_documents(catalogue)
    encoder = TextEncoder(settings.text_encoder, settings.threads, "float32")
    if settings.text_tuning != "off":
        pairs = Pairs.of(history, document, len(documents))
        fine_tune(encoder, documents, pairs, settings.text_tuning, settings.seed, progress, tuning)
    if settings.text_layers is not None:
        vectors = encoder.encode(documents)
        prune(encoder, settings.text_layers)
        distil(encoder, documents, vectors, settings.seed, progress)
    return encoder


def distinct_documents(catalogue: Catalogue) -> tuple[Sequence[str], "np.ndarray[Any, np.dtype[np.int64]]"]:
    """The catalogue's distinct documents, and the index of each item's [items]."""
    texts = [str(text or "") for text in catalogue.table["document"].to_pylist()]
    documents, index = np.unique(np.array(texts, object), return_inverse=True)
    return documents.tolist(), index


def make_tower(
    settings: Settings,
    clock: Clock,
    marts: Marts,
    progress: Progress = silent,
    tuning: TuningConfig | None = None,
) -> Path:
    """Adapt an encoder on events before ``clock.ranking_cut`` and keep it; returns its folder.

    The ranker is trained on events after that cut, so the encoder must not see them (law 4).

    Raises:
        ValueError: the settings ask for nothing, or as in ``adapt``.
    """
    if not wanted(settings):
        raise ValueError("nothing to fine-tune: set ZHIYIN_TEXT_TUNING to full or lora, or ZHIYIN_TEXT_LAYERS")
    catalogue = read_catalogue(marts)
    history = History.of(read_interactions(marts.path(INTERACTIONS)), catalogue, clock.ranking_cut)
    encoder = adapt(settings, history, catalogue, progress, tuning)
    tuned = settings.text_tuning != "off"
    facts = _recipe(settings) | {"trained_before": clock.ranking_cut.isoformat() if tuned else None}

    def write(folder: Path) -> str:
        encoder.save(folder)
        return str(write_manifest(folder, **facts, dataset=settings.dataset, made_as_of=clock.date)["digest"])

    return publish_by_digest(settings.text_towers, write)


def find_tower(settings: Settings, clock: Clock) -> str | None:
    """What to give a ``TextEncoder`` in a run of ``clock``: the model that the settings name or the latest tower made
    of it; None where that is still to be made.

    Raises:
        ValueError: the settings name a tower that was trained on events of this run's holdout.
    """
    if not wanted(settings):
        named = Path(settings.text_encoder) / MANIFEST
        if named.is_file() and not _may_read(read_json(named), clock):
            raise ValueError(
                f"{named.parent}: was trained on events until {read_json(named)['trained_before']}, but a run of "
                f"{clock.date} needs one that saw none since {clock.ranking_cut.date()}; take an earlier one"
            )
        return settings.text_encoder
    recipe = _recipe(settings)
    made: list[tuple[str, str]] = []
    for path in sorted(settings.text_towers.glob(f"*/{MANIFEST}")):
        facts = read_json(path)
        if facts.items() >= recipe.items() and _may_read(facts, clock):
            made.append((facts["made_as_of"], str(path.parent)))
    return max(made)[1] if made else None


def _recipe(settings: Settings) -> dict[str, Any]:
    base = TextEncoder(settings.text_encoder, settings.threads, "float32").digest
    return {"base": base, "tuning": settings.text_tuning, "layers": settings.text_layers, "seed": settings.seed}


def _may_read(facts: dict[str, Any], clock: Clock) -> bool:
    trained = facts.get("trained_before")
    return trained is None or bool(trained <= clock.ranking_cut.isoformat())

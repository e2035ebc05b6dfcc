"""Train a bundle: candidate models, then the ranker on what they would have proposed at earlier moments.

By hand::

    zhiyin step train --as-of 2017-12-01
"""

import importlib.metadata
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.compute as pc

from training.data import read_data
from training.interest.encoders import Encoders
from training.ranking.fit_calibration import fit_calibration
from training.ranking.fit_ranker import fit_ranker
from training.ranking.ranking_set import build_ranking_set
from training.text.encode_items import document_vectors
from training.text.towers import find_tower
from zhiyin.clock import Clock
from zhiyin.language.words import read_words
from zhiyin.recommender.bundle import Bundle
from zhiyin.recommender.candidates import GENERATORS, CandidateGenerator, Context
from zhiyin.recommender.candidates.base import Progress, Record, silent, unrecorded
from zhiyin.recommender.state.catalogue import item_rows
from zhiyin.recommender.state.history import History
from zhiyin.settings import Settings
from zhiyin.store import publish_by_digest
from zhiyin.warehouse import Marts

LEAST_SHARE = 0.25  # of the log's events: generators of fewer would propose other things than those that are served
LIBRARIES = ("lightgbm", "numpy", "scipy", "torch")


def train(
    settings: Settings,
    clock: Clock,
    marts: Marts,
    states: Path,
    progress: Progress = silent,
    record: Record = unrecorded,
) -> Path:
    """Train on the marts and states of ``clock``; returns the bundle's folder, named by its digest.

    Nothing fitted here saw an event at or after ``clock.evaluation_cut``; nothing that proposes candidates for a label
    window of the ranker saw one at or after its start.
    """
    data = read_data(marts, states)
    tower = find_tower(settings, clock)
    if tower is None:
        raise ValueError("there is no text tower of these settings yet: run the step encode, or finetune, first")
    vectors, text_encoder = document_vectors(settings, data.catalogue, tower, progress)
    encoders = Encoders.after(settings, clock, vectors, text_encoder)
    text = encoders.basis.standardise(vectors)
    context = Context(
        data.catalogue, text, settings.seed, settings.threads, progress, encoders.fit, users=data.words_at
    )
    history = History.of(data.interactions, data.catalogue, clock.evaluation_cut)
    cuts = label_cuts(history, clock)

    teachers = (
        fit_generators(history.before(cut), replace(context, record=_named(record, f"teachers {number}")))
        for number, cut in enumerate(cuts, 1)
    )
    ranking_set, trial = build_ranking_set(data, teachers, cuts, clock.label_days, progress, settings.seed)
    ranker = fit_ranker(ranking_set, settings, progress, record=record, trial=trial)
    calibration = fit_calibration(ranker, trial) if trial else None
    del ranking_set, trial
    generators = fit_generators(history, replace(context, record=_named(record, "served")))

    state = item_rows(data.items, data.catalogue, clock.as_of)
    bundle = Bundle(data.catalogue, state, text, {model.name: model for model in generators}, ranker, calibration)
    facts = {
        "as_of": clock.as_of.isoformat(),
        "evaluation_cut": clock.evaluation_cut.isoformat(),
        "ranking_cuts": [cut.isoformat() for cut in cuts],
        "label_days": clock.label_days,
        "dataset": settings.dataset,
        "event_types": sorted(pc.unique(data.interactions["event_type"]).cast("string").to_pylist()),
        "words": read_words(settings.dataset).model_dump(),
        "marts": marts.version,
        "encoders_start_from": encoders.origin,
        "seed": settings.seed,
        "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
    }
    folder = publish_by_digest(settings.bundles, lambda place: str(bundle.write(place, facts)["digest"]))
    encoders.save(settings, clock, text_encoder)
    return folder


def label_cuts(history: History, clock: Clock) -> list[datetime]:
    """Where the windows start on which the ranker learns, oldest first: those with enough of the log before them."""
    cuts = [moment for moment in clock.snapshots if moment < clock.evaluation_cut]
    enough = [cut for cut in cuts if (history.at < cut.timestamp()).mean() >= LEAST_SHARE]
    return enough or cuts[-1:]


def fit_generators(history: History, context: Context) -> list[CandidateGenerator]:
    """Every generator, fitted on one log."""
    fitted = []
    for number, kind in enumerate(GENERATORS):
        context.progress("candidates", number / len(GENERATORS), f"{kind.name}, events before {_day(history.cut)}")
        fitted.append(kind.fit(history, context))
    return fitted


def _named(record: Record, models: str) -> Record:
    return lambda name, step, value: record(f"{models}/{name}", step, value)


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d")

"""Train a bundle: generators, then the rankers on what generators fitted earlier would have proposed.

By hand::

    zhiyin step train --as-of 2017-12-01
"""

import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from training.data import Data, read_data
from training.interest.encoders import Encoders
from training.ranking.fit_calibration import fit_calibration
from training.ranking.fit_ranker import fit_ranker
from training.ranking.ranking_set import RankingSet, SplitRows, ranking_rows
from training.splits import States, TrainingSplit, training_splits
from training.text.encode_items import document_vectors
from training.text.towers import find_tower
from zhiyin.clock import Clock
from zhiyin.recommender.bundle import Bundle, CalibratedRanker, Lists
from zhiyin.recommender.candidates import KINDS, CandidateGenerator, Context
from zhiyin.recommender.candidates.base import Progress, Record, silent, unrecorded
from zhiyin.recommender.recipe import Recipe, read_recipe
from zhiyin.recommender.state.catalogue import item_rows
from zhiyin.recommender.state.history import History
from zhiyin.settings import Settings
from zhiyin.store import publish_by_digest
from zhiyin.warehouse import Marts

LIBRARIES = ("lightgbm", "numpy", "scipy", "torch")


@dataclass(frozen=True)
class Fitted:
    """What a recipe learned from one log."""

    generators: dict[str, CandidateGenerator]
    rankers: dict[Lists, CalibratedRanker]


def fit(recipe: Recipe, log: History, splits: Sequence[TrainingSplit], states: States, context: Context) -> Fitted:
    """Fit a recipe on a log: generators on all of it, rankers on ``splits`` of it.

    Nothing that proposes candidates for a split saw an event at or after its moment.
    """
    rows: dict[Lists, list[SplitRows]] = {}
    generators: list[CandidateGenerator] = []
    for number, part in enumerate(splits):
        split = part.make()
        if recipe.refit or not generators:
            generators = fit_generators(recipe, split.log, replace(context, record=_named(context.record, part.name)))
        moment = split.log.cut if recipe.protocol == "next_days" else float(split.log.at.max())
        items = states.items(split.log, moment, recipe.least).only(split.candidates)
        for kind, made in ranking_rows(
            split, generators, states, items, context.catalogue, recipe, context.seed
        ).items():
            rows.setdefault(kind, []).append(made)
        context.progress("ranking set", (number + 1) / len(splits), part.name)
    rankers = {kind: _fit_ranker(recipe, parts, context, kind) for kind, parts in rows.items()}
    del rows
    served = fit_generators(recipe, log, replace(context, record=_named(context.record, "served")))
    return Fitted({model.name: model for model in served}, rankers)


def _fit_ranker(recipe: Recipe, parts: list[SplitRows], context: Context, kind: Lists) -> CalibratedRanker:
    training = RankingSet.joined([part.training for part in parts])
    holdout = RankingSet.joined([part.holdout for part in parts])
    ranker = fit_ranker(
        training,
        context.seed,
        context.threads,
        context.progress,
        record=_named(context.record, kind) if kind == "all" or not recipe.repeats else unrecorded,
        holdout=holdout if len(holdout.label) else None,
        **recipe.ranker,
    )
    return CalibratedRanker(ranker, fit_calibration(ranker, holdout) if holdout.label.any() else None)


def fit_generators(recipe: Recipe, log: History, context: Context) -> list[CandidateGenerator]:
    """The recipe's generators, fitted on one log."""
    fitted = []
    for number, (name, chosen) in enumerate(recipe.generators.items()):
        until = datetime.fromtimestamp(log.cut, UTC).strftime("%Y-%m-%d")
        context.progress("candidates", number / len(recipe.generators), f"{name}, events before {until}")
        model: Any = KINDS[chosen.kind].fit(log, context, **chosen.settings)
        model.name, model.quota = name, chosen.quota
        model.new_quota = chosen.new_quota
        fitted.append(model)
    return fitted


def train(
    settings: Settings,
    clock: Clock,
    marts: Marts,
    states: Path,
    progress: Progress = silent,
    record: Record = unrecorded,
) -> Path:
    """The challenger of ``clock``, fitted on what is before ``clock.evaluation_cut``; returns the bundle's folder."""
    recipe = read_recipe(settings.dataset)
    data = read_data(marts, states)
    tower = find_tower(settings, clock)
    if tower is None:
        raise ValueError("there is no text tower of these settings yet: run the step encode, or finetune, first")
    vectors, text_encoder = document_vectors(settings, data.catalogue, tower, progress)
    encoders = Encoders.after(settings, clock, vectors, text_encoder)
    text = encoders.basis.standardise(vectors)
    words = data.states.words_at
    context = Context(data.catalogue, text, settings.seed, settings.threads, progress, encoders.fit, record, words)
    log = data.history.before(clock.evaluation_cut)
    splits = training_splits(recipe, log, data.states, data.catalogue, clock.label_days)
    fitted = fit(recipe, log, splits, data.states, context)
    facts = {"encoders_start_from": encoders.origin, "training_splits": [split.name for split in splits]}
    folder = publish(settings, clock, marts, recipe, data, log, text, fitted, facts)
    encoders.save(settings, clock, text_encoder, folder.name)
    return folder


def publish(
    settings: Settings,
    clock: Clock,
    marts: Marts,
    recipe: Recipe,
    data: Data,
    log: History,
    text: Any,
    fitted: Fitted,
    facts: dict[str, Any],
) -> Path:
    """Write a bundle under its digest."""
    state: pa.Table = item_rows(data.states.item_rows, data.catalogue, clock.as_of)
    parts = Bundle(recipe, data.catalogue, state, text, log.item_counts, fitted.generators, fitted.rankers)
    facts = {
        "as_of": clock.as_of.isoformat(),
        "fitted_until": datetime.fromtimestamp(log.cut, UTC).isoformat(),
        "label_days": clock.label_days,
        "dataset": settings.dataset,
        "event_types": data.event_types,
        "marts": marts.version,
        "recipe": recipe.digest,
        "seed": settings.seed,
        "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
        **facts,
    }
    return publish_by_digest(settings.bundles, lambda place: str(parts.write(place, facts)["digest"]))


def _named(record: Record, models: str) -> Record:
    return lambda name, step, value: record(f"{models}/{name}", step, value)

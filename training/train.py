"""Train a bundle: generators, then the rankers on what generators fitted earlier would have proposed.

By hand::

    zhiyin step train --as-of 2017-12-01
"""

import importlib.metadata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from training.code import code_digest
from training.data import Data, MartStates, read_data
from training.evaluation.listed import ListedRows
from training.interest.encoders import Encoders
from training.protocols import Split
from training.ranking.fit_calibration import fit_calibration
from training.ranking.fit_ranker import fit_ranker
from training.ranking.kept_rows import KeptRows
from training.ranking.ranking_set import RankingSet, SplitRows, ranking_rows
from training.ranking.session_moments import session_set
from training.ranking.window_generators import Generators, WindowGenerators
from training.splits import States, TrainingSplit, holdout, training_splits
from training.text.encode_items import document_vectors
from training.text.towers import find_tower
from zhiyin.clock import Clock
from zhiyin.language.words import read_words
from zhiyin.recommender.bundle import Bundle, CalibratedRanker, Lists, load_generators
from zhiyin.recommender.candidates import KINDS, Context, Session
from zhiyin.recommender.candidates.base import Progress, Record, silent, unrecorded
from zhiyin.recommender.explanation.together import Together
from zhiyin.recommender.recipe import Recipe, read_recipe
from zhiyin.recommender.recommender import Recommender
from zhiyin.recommender.slate.rules import read_rules
from zhiyin.recommender.state.catalogue import item_rows
from zhiyin.recommender.state.history import History
from zhiyin.settings import Settings
from zhiyin.store import publish_by_digest
from zhiyin.warehouse import Marts

SESSION_WINDOWS = 3  # the latest label windows, in which moments inside baskets are taken
LIBRARIES = ("lightgbm", "numpy", "scipy", "torch")


@dataclass(frozen=True)
class Fitted:
    """What a recipe learned from one log."""

    generators: Generators
    rankers: dict[Lists, CalibratedRanker]


def fit(
    recipe: Recipe,
    log: History,
    splits: Sequence[TrainingSplit],
    states: States,
    context: Context,
    kept: WindowGenerators | None = None,
    known: Mapping[datetime, Generators] | None = None,
    kept_rows: KeptRows | None = None,
) -> Fitted:
    """Fit a recipe on a log: generators on all of it, rankers on ``splits`` of it.

    ``kept``, ``known``: see ``proposing``. ``kept_rows``: where rows of label windows are kept.
    """
    rows: dict[Lists, list[SplitRows]] = {}
    sessions = recipe.repeats and any(each.kind == Session.name for each in recipe.generators.values())
    live: list[RankingSet] = []
    for number, (split, generators) in enumerate(proposing(recipe, splits, context, kept, known)):
        part, models = splits[number], list(generators.values())
        moment = split.log.cut if recipe.protocol == "next_days" else float(split.log.at.max())
        items = states.items(split.log, moment, recipe.least).only(split.candidates)
        make = partial(ranking_rows, split, models, states, items, context.catalogue, recipe, context.seed)
        if kept and kept_rows and recipe.refit and part.generators_cut and part.cut not in (known or {}):
            proposing_ones = kept.name(split.log.before(part.generators_cut), context.catalogue)
            made = kept_rows.of_window(part.name, proposing_ones, make)
        else:
            made = make()
        for kind, some in made.items():
            rows.setdefault(kind, []).append(some)
        if sessions and part.cut is not None and number >= len(splits) - SESSION_WINDOWS:
            end = splits[number + 1].cut if number + 1 < len(splits) else None
            inside = session_set(recipe, log, split, end, models, states, items, context)
            live += [inside] if inside else []
        context.progress("ranking set", (number + 1) / len(splits), part.name)
    fitted = {kind: _fit_ranker(recipe, rows.pop(kind), context, kind) for kind in list(rows)}
    rankers = {kind: ranker for kind, ranker in fitted.items() if ranker is not None}
    if live and sum(len(part.label) for part in live):
        joined = RankingSet.joined(live)
        ranker = fit_ranker(joined, context.seed, context.threads, context.progress, **recipe.ranker)
        rankers["session"] = CalibratedRanker(ranker, None)
    if not rankers:
        raise ValueError("nothing that was taken in a label window had been proposed: too little data to learn from")
    return Fitted(fit_generators(recipe, log, replace(context, record=_named(context.record, "served"))), rankers)


def proposing(
    recipe: Recipe,
    splits: Sequence[TrainingSplit],
    context: Context,
    kept: WindowGenerators | None = None,
    known: Mapping[datetime, Generators] | None = None,
) -> Iterator[tuple[Split, Generators]]:
    """Each split with the generators that propose for it; none of them saw an event at or after the split's moment.

    ``kept``: where generators of label windows are kept. ``known``: generators that are fitted already, by the end of
    the log that they saw.
    """
    found = dict(known or {})
    generators: Generators = {}
    for part in splits:
        split = part.make()
        if recipe.refit or not generators:
            own = replace(context, record=_named(context.record, part.name))
            if part.cut is None or part.generators_cut is None:
                generators = fit_generators(recipe, split.log, own)
            elif part.cut in found:
                generators = found[part.cut]
            else:
                if part.generators_cut not in found:
                    log = split.log.before(part.generators_cut)
                    anew = partial(fit_generators, recipe, log, own)
                    found[part.generators_cut] = kept.fitted_on(log, recipe, context, anew) if kept else anew()
                generators = found[part.generators_cut]
        yield split, generators


def _fit_ranker(recipe: Recipe, parts: list[SplitRows], context: Context, kind: Lists) -> CalibratedRanker | None:
    """None where nothing was taken of what these lists may hold."""
    training = RankingSet.joined([part.training for part in parts])
    holdout = RankingSet.joined([part.holdout for part in parts])
    if not training.label.any():
        return None
    ranker = fit_ranker(
        training,
        context.seed,
        context.threads,
        context.progress,
        record=context.record if kind == "all" or not recipe.repeats else unrecorded,
        holdout=holdout if len(holdout.label) else None,
        **recipe.ranker,
    )
    return CalibratedRanker(ranker, fit_calibration(ranker, holdout) if holdout.label.any() else None)


def fit_generators(recipe: Recipe, log: History, context: Context) -> Generators:
    """The recipe's generators, by their names, fitted on one log."""
    fitted: Generators = {}
    for number, (name, chosen) in enumerate(recipe.generators.items()):
        until = datetime.fromtimestamp(log.cut, UTC).strftime("%Y-%m-%d")
        context.progress("candidates", number / len(recipe.generators), f"{name}, events before {until}")
        model: Any = KINDS[chosen.kind].fit(log, context, **chosen.settings)
        model.name, model.quota = name, chosen.quota
        model.new_quota, model.graded = chosen.new_quota, chosen.graded
        fitted[name] = model
    return fitted


def train(
    settings: Settings,
    clock: Clock,
    marts: Marts,
    states: Path,
    progress: Progress = silent,
    record: Record = unrecorded,
) -> Path:
    """The challenger of ``clock``, fitted on what is before its evaluation; returns the bundle's folder.

    That is before ``clock.evaluation_cut``, or all but each user's last event where the recipe leaves one out.
    """
    run = _Run.of(settings, clock, marts, states, progress, record)
    log = run.data.history.before(clock.evaluation_cut)
    if run.recipe.protocol == "leave_one_out":
        log = holdout(run.recipe, run.data.history, run.states, run.data.catalogue, clock)[0].log
    return run.fit(log, None)


def refit(
    settings: Settings,
    clock: Clock,
    marts: Marts,
    states: Path,
    judged: str,
    progress: Progress = silent,
    record: Record = unrecorded,
) -> Path:
    """The same recipe fitted on everything before ``clock.as_of``; returns the bundle's folder.

    The encoders go on from those of the bundle ``judged``, and the rankers learn on the latest splits.
    """
    run = _Run.of(settings, clock, marts, states, progress, record, judged)
    return run.fit(run.data.history, judged)


@dataclass(frozen=True)
class _Run:
    """What the two fits of a run share."""

    settings: Settings
    clock: Clock
    marts: Marts
    recipe: Recipe
    data: Data
    states: States
    encoders: Encoders
    text_encoder: str
    context: Context

    @classmethod
    def of(
        cls,
        settings: Settings,
        clock: Clock,
        marts: Marts,
        states: Path,
        progress: Progress,
        record: Record,
        judged: str | None = None,
    ) -> "_Run":
        recipe, data, tower = read_recipe(settings.dataset), read_data(marts, states), find_tower(settings, clock)
        if tower is None:
            raise ValueError("there is no text tower of these settings yet: run the step encode, or finetune, first")
        vectors, text_encoder = document_vectors(settings, data.catalogue, tower, progress)
        encoders = Encoders.after(settings, clock, vectors, text_encoder, judged)
        text = encoders.basis.standardise(vectors)
        known = data.states_of(recipe)
        words = data.words if isinstance(known, MartStates) else known.words
        context = Context(data.catalogue, text, settings.seed, settings.threads, progress, encoders.fit, record, words)
        return cls(settings, clock, marts, recipe, data, known, encoders, text_encoder, context)

    def fit(self, log: History, judged: str | None) -> Path:
        settings, data, context = self.settings, self.data, self.context
        splits = training_splits(self.recipe, log, self.states, data.catalogue, self.clock.label_days)
        facts_of = self.recipe, context.text, code_digest(), settings.seed, settings.threads
        kept = WindowGenerators.of(settings.window_generators, *facts_of, self.encoders)
        known = {}
        if judged is not None and self.recipe.protocol == "next_days":
            folder = settings.bundles / judged / "generators"
            known[self.clock.evaluation_cut] = load_generators(folder, self.recipe, context)
        follows_from = {"marts": self.marts.version, "recipe": self.recipe.digest, "label_days": self.clock.label_days}
        rows = KeptRows(settings.ranking_rows, follows_from)
        if judged is None:
            rows.clear()  # of an earlier run
        fitted = fit(self.recipe, log, splits, self.states, context, kept, known, rows)
        state: pa.Table = item_rows(data.states.item_rows, data.catalogue, self.clock.as_of)
        rankers, errors = fitted.rankers, None
        if judged is not None and self.recipe.protocol == "next_days":
            rankers, errors = self._calibrated(rankers, judged)
        models = log.item_counts, fitted.generators, rankers
        parts = Bundle(self.recipe, data.catalogue, state, context.text, *models, Together.of(log))
        facts = {
            "as_of": self.clock.as_of.isoformat(),
            "fitted_until": datetime.fromtimestamp(log.cut, UTC).isoformat(),
            "judged": judged,
            "protocol": self.recipe.protocol,
            "training_splits": [split.name for split in splits],
            "encoders_start_from": self.encoders.origin,
            "window_generators": self._latest(splits[-1], log, kept),
            "calibration_error": errors,
            "label_days": self.clock.label_days,
            "dataset": settings.dataset,
            "event_types": data.event_types,
            "grades": asdict(log.scale) if log.scale.spread >= 0 else None,
            "words": read_words(settings.dataset).model_dump(),
            "marts": self.marts.version,
            "recipe": self.recipe.digest,
            "seed": settings.seed,
            "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
        }
        folder = publish_by_digest(settings.bundles, lambda place: str(parts.write(place, facts)["digest"]))
        if judged is None:
            self.encoders.save(settings, self.clock, self.text_encoder, folder.name)
        return folder

    def _calibrated(
        self, rankers: dict[Lists, CalibratedRanker], judged: str
    ) -> tuple[dict[Lists, CalibratedRanker], dict[str, float | None]]:
        """The rankers with the calibration of what the judged bundle listed in its holdout, and its errors."""
        rules = read_rules(self.settings.rules) if self.settings.rules else None
        recommender = Recommender.load(self.settings.bundles / judged, rules)
        data = self.data.over(recommender.catalogue)
        states = data.states_of(self.recipe)
        split, items = holdout(self.recipe, data.history, states, data.catalogue, self.clock)
        recommender = recommender.at(items)
        made: dict[Lists, CalibratedRanker] = {}
        errors: dict[str, float | None] = {}
        for lists, each in rankers.items():
            if lists == "session":  # its lists say no probability
                made[lists] = each
                continue
            self.context.progress("calibration", len(made) / len(rankers), f"lists of {lists} items")
            rows = ListedRows.of(recommender, split, states, lists == "new")
            calibration, errors[lists] = rows.calibrated()
            made[lists] = CalibratedRanker(each.ranker, calibration)
        return made, errors

    def _latest(self, part: TrainingSplit, log: History, kept: WindowGenerators) -> dict[str, str] | None:
        """The latest generators of label windows: their folder's name, and where the log that they saw ends."""
        if part.generators_cut is None:
            return None
        name = kept.name(log.before(part.generators_cut), self.data.catalogue)
        return {"name": name, "until": part.generators_cut.isoformat()}


def _named(record: Record, models: str) -> Record:
    return lambda name, step, value: record(f"{models}/{name}", step, value)

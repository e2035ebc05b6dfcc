"""Hyper-parameter search with Optuna: settings of one model, by NDCG@10 on a protocol's validation split.

A study is kept in a SQLite file below the home, by dataset, split, model and search space, so an interrupted search
resumes. Its figures and the settings it found are committed, one JSON file per model, where ``tuned`` reads them.
"""

import inspect
import logging
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from benchmarks.lab.experiment import MODELS, Experiment, Options
from benchmarks.lab.models import fit_model, search_space
from benchmarks.lab.product import changed, product, request_of
from benchmarks.lab.scoring import scored_blocks
from benchmarks.lab.tuned import STUDIES
from training.evaluation.figures import K, accuracy, means, paired
from training.evaluation.gate import WHOLE
from training.evaluation.leaderboard import score_batches
from training.evaluation.metrics import Values
from zhiyin.recommender.candidates.base import Progress, silent
from zhiyin.recommender.candidates.space import Choice, Space
from zhiyin.recommender.recipe import Recipe, recipe_file, write_recipe
from zhiyin.store import json_digest, write_json

KEPT = 10  # trials of a study that its file shows, the best first
STARTUP = 10  # trials by chance before the sampler follows what it has seen

log = logging.getLogger(__name__)


def tune(
    experiment: Experiment, name: str, today: Options, trials: int, storage: Path, split: str, progress: Progress
) -> dict[str, Any]:
    """Search until the study holds ``trials`` finished ones; returns its figures.

    ``experiment``: of a validation split, named by ``split`` (a study resumes only for the same name);
    ``today``: the current settings, tried first, so the best is never worse. Deterministic for a seed where it is
    not interrupted. A trial stops once its NDCG over the users so far is below the others' median (after ``STARTUP``).

    Raises:
        ValueError: nothing of the model is tuned.
    """
    space = search_space(name)
    experiment = replace(
        experiment, context=replace(experiment.context, progress=silent)
    )  # progress of a trial is not shown
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage.parent.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        study_name=f"{split} {name} {json_digest(_in_words(space))[:8]}",
        storage=f"sqlite:///{storage}",
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP),
        load_if_exists=True,
    )
    done = _finished(study)
    # A sampler's seed starts anew when a study goes on: with the same one it would draw the same again.
    study.sampler = optuna.samplers.TPESampler(seed=experiment.context.seed + done, n_startup_trials=STARTUP)
    if not study.trials:
        study.enqueue_trial(_within(space, today, name))

    def objective(trial: optuna.Trial) -> float:
        chosen = _rounded({key: _suggest(trial, key, bounds) for key, bounds in space.items()})
        return float(_ndcg(experiment, name, merge(today, chosen), trial).mean())

    def tell(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        best = max(study.trials, key=_value)
        words = f"NDCG@{K} {trial.value:.4f}" if trial.state.name == "COMPLETE" else trial.state.name.lower()
        progress("tune", _finished(study) / trials, f"trial {trial.number}: {words}; best so far {_value(best):.4f}")

    if done < trials:
        study.optimize(objective, n_trials=trials - done, callbacks=[tell])
    best = merge(today, _rounded(study.best_params))
    found, before = _ndcg(experiment, name, best), _ndcg(experiment, name, today)
    finished = [trial for trial in study.trials if trial.state.is_finished()]
    figures = means({"best": found, "today": before})
    return {
        "settings": best if found.mean() > before.mean() else dict(today),
        "split": split,
        "users": len(found),
        "seed": experiment.context.seed,
        "trials": len(finished),
        "pruned": sum(trial.state.name == "PRUNED" for trial in finished),
        "space": _in_words(space),
        f"ndcg@{K}": figures["best"],
        "before": {"settings": dict(today), f"ndcg@{K}": figures["today"]},
        "best_less_before": paired(found, {"before": before})["before"],
        "best_trials": [
            {"number": trial.number, f"ndcg@{K}": round(_value(trial), 5), "settings": _rounded(trial.params)}
            for trial in sorted(finished, key=_value, reverse=True)[:KEPT]
        ],
    }


def write_study(dataset: str, protocol: str, name: str, figures: Mapping[str, Any]) -> Path:
    """Keep a study's figures and settings where ``tuned`` reads them."""
    path = STUDIES / dataset / protocol / f"{name}.json"
    write_json(path, figures)
    return path


def write_to_recipe(recipe: Recipe, dataset: str, name: str, settings: Mapping[str, Any]) -> Path | None:
    """Put what was found into the dataset's recipe: the whole's settings, or those of a generator that it holds.

    None for a peer, of which no bundle knows.
    """
    if name == WHOLE:
        found = changed(recipe, settings)
    elif name in recipe.generators:
        found = changed(recipe, {"generators": {name: settings}})
    else:
        return None
    path = recipe_file(dataset)
    write_recipe(found, path)
    return path


def merge(options: Options, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Options with the chosen ones in their place; ``part.key`` goes into the dictionary ``part``."""
    merged = deepcopy(dict(options))
    for key, value in chosen.items():
        *parts, last = key.split(".")
        place = merged
        for part in parts:
            place = place.setdefault(part, {})
        place[last] = value
    return merged


def _ndcg(experiment: Experiment, name: str, options: Options, trial: optuna.Trial | None = None) -> Values:
    """NDCG@10 of each user [users].

    Raises:
        optuna.TrialPruned: the trial is not worth going on with.
    """
    values: list[Values] = []
    for ndcg in _batches(experiment, name, options):
        values.append(ndcg)
        if trial is not None:
            trial.report(float(np.concatenate(values).mean()), len(values))
            if trial.should_prune():
                raise optuna.TrialPruned
    return np.concatenate(values)


def _batches(experiment: Experiment, name: str, options: Options) -> Iterator[Values]:
    """NDCG@10 of the users, batch by batch."""
    if name == WHOLE:
        recommender = product(experiment, options)
        for batch in score_batches(recommender, experiment.split, experiment.states, request_of(experiment)):
            yield batch.models[WHOLE].values[f"ndcg@{K}"]
        return
    place = experiment.items().place
    for block in scored_blocks(experiment, fit_model(name, experiment, options)):
        lists, _ = block.lists(K)
        yield accuracy(lists, block.relevant, block.relevant.sum(axis=1), place, (K,))[f"ndcg@{K}"]


def _suggest(trial: optuna.Trial, key: str, bounds: Any) -> Any:
    if isinstance(bounds, Choice):
        return trial.suggest_categorical(key, bounds.values)
    if isinstance(bounds.low, int) and isinstance(bounds.high, int):
        return trial.suggest_int(key, bounds.low, bounds.high, log=bounds.log)
    return trial.suggest_float(key, bounds.low, bounds.high, log=bounds.log)


def _rounded(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers to four digits: more says nothing, and these can be written down."""
    return {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in chosen.items()}


def _within(space: Space, today: Options, name: str) -> dict[str, Any]:
    """What holds now of the settings that are searched; a model's default where nothing else does."""
    defaults: dict[str, Any] = {}
    if name in MODELS:
        parameters = inspect.signature(MODELS[name].fit).parameters.values()
        defaults = {each.name: each.default for each in parameters if each.default is not each.empty}
    held: dict[str, Any] = {}
    for key in space:
        place: Any = defaults | dict(today)
        for part in key.split("."):
            place = place.get(part) if isinstance(place, Mapping) else None
        if place is not None:
            held[key] = place
    return held


def _finished(study: optuna.Study) -> int:
    return sum(trial.state.is_finished() for trial in study.trials)


def _value(trial: optuna.trial.FrozenTrial) -> float:
    """A finished trial's NDCG; what was pruned, failed or cut off comes last."""
    return float(trial.value) if trial.state.name == "COMPLETE" and trial.value is not None else -1.0


def _in_words(space: Space) -> dict[str, Any]:
    return {
        key: list(bounds.values) if isinstance(bounds, Choice) else [bounds.low, bounds.high, bounds.log]
        for key, bounds in space.items()
    }

"""The row ``zhiyin``: a bundle made by the code that makes the served one, written, loaded, and used for lists.

Every protocol uses the product's own options: ``new_only`` for discoveries, cold items as the only eligible items.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.lab.experiment import Experiment, Options
from training.interest.train_encoder import LoopConfig, Start, train_encoder
from training.train import fit
from zhiyin.contract import FEATURE_AT, ITEM_ID
from zhiyin.recommender.bundle import Bundle
from zhiyin.recommender.candidates.base import Context
from zhiyin.recommender.encoder.interest_encoder import EncoderConfig, InterestEncoder
from zhiyin.recommender.recipe import Recipe
from zhiyin.recommender.recommender import Recommender, Request
from zhiyin.recommender.state.catalogue import Catalogue, ItemState
from zhiyin.recommender.state.history import History
from zhiyin.settings import get_settings


class WarmStart:
    """Fits the interest encoders of a run, each started from the one before, as the pipeline does."""

    def __init__(self) -> None:
        self._latest: Start | None = None

    def __call__(
        self, history: History, context: Context, config: EncoderConfig, learning: Mapping[str, Any]
    ) -> InterestEncoder:
        latest = self._latest
        goes_on = latest is not None and latest.cut < history.cut and latest.encoder.config == config
        loop = LoopConfig(minutes=get_settings().encoder_minutes).under(learning)
        encoder = train_encoder(history, context, config, loop, latest if goes_on else None)
        self._latest = Start(encoder, np.arange(history.n_items), history.cut)
        return encoder


def changed(recipe: Recipe, options: Options) -> Recipe:
    """A recipe with some fields replaced; a dictionary replaces what it names of a dictionary."""

    def merged(one: Any, other: Any) -> Any:
        if not (isinstance(one, Mapping) and isinstance(other, Mapping)):
            return other
        return {**one, **{key: merged(one.get(key), value) for key, value in other.items()}}

    return Recipe.model_validate(merged(recipe.model_dump(), dict(options)))


def product(experiment: Experiment, options: Options) -> Recommender:
    """The recommender of an experiment; ``options``: fields of the recipe in place of the dataset's."""
    recipe = changed(experiment.recipe, options)
    experiment = replace(experiment, recipe=recipe)
    context = replace(experiment.context, fit_encoder=WarmStart())
    split = experiment.split
    fitted = fit(recipe, split.log, experiment.training_splits(), experiment.states, context)
    items = experiment.items()
    parts = Bundle(
        recipe,
        context.catalogue,
        state_table(items, context.catalogue),
        context.text,
        split.log.item_counts,
        fitted.generators,
        fitted.rankers,
    )
    facts = {"as_of": items.moment.isoformat(), "event_types": ["purchase"], "label_days": experiment.label_days}
    with tempfile.TemporaryDirectory() as place:
        parts.write(Path(place), facts)
        return Recommender.load(Path(place)).at(items)


def state_table(items: ItemState, catalogue: Catalogue) -> pa.Table:
    """A state as the rows of items.parquet that a bundle keeps."""
    moment = pa.array([items.moment] * len(catalogue), pa.timestamp("us", tz="UTC"))
    return pa.table({ITEM_ID: pa.array(catalogue.item_ids, pa.string()), FEATURE_AT: moment, **items.columns})


def request_of(experiment: Experiment) -> Request:
    """What a caller asks for who wants the lists of the protocol."""
    return Request(new_only=not experiment.split.repeats)

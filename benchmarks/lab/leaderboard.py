"""The leaderboard of a protocol: every model fitted on the same split, with the same figures, in one run."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import duckdb
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.lab.experiment import Experiment, Options, Scorer
from benchmarks.lab.models import fit_model
from benchmarks.lab.product import product, request_of
from benchmarks.lab.scoring import scored_blocks
from training.data import MartStates, read_catalogue, words_of_users
from training.evaluation.figures import KS, accuracy, character, owners, paired, summary
from training.evaluation.gate import WHOLE
from training.evaluation.leaderboard import score_batches
from training.evaluation.metrics import Values, user_auc
from training.evaluation.slices import find_slices, score_slices
from training.interest.train_encoder import fit_within
from training.log_states import LogStates
from training.protocols import NextDays, Protocol, Split
from training.splits import States, training_splits
from training.text.encode_items import TextBasis, document_vectors
from training.text.towers import adapt, distinct_documents, wanted
from zhiyin.clock import Clock
from zhiyin.contract import FEATURE_AT, INTERACTIONS, ITEM_ACTIVITY, ITEM_ID, USER_ID
from zhiyin.recommender.candidates.base import Context, Progress, silent
from zhiyin.recommender.recipe import Recipe, read_recipe
from zhiyin.recommender.recommender import Recommender, Request
from zhiyin.recommender.state.catalogue import Catalogue, Floats, Integers, epoch_seconds
from zhiyin.recommender.state.history import History, read_interactions
from zhiyin.settings import Settings
from zhiyin.store import atomic_file
from zhiyin.warehouse import Marts

FACTS = ("discount_share_28d", "promoted")  # of item_activity


def make_experiment(
    settings: Settings,
    marts: Marts,
    protocol: Protocol,
    validation: bool = False,
    progress: Progress = silent,
    recipe: Recipe | None = None,
) -> Experiment:
    """The split that a protocol makes of the published marts; ``validation``: the one before it.

    States come from the marts' own rows where they hold the moments of the split (the days before the marts' ``as_of``
    and the label windows before them), else from the log, by the same definitions. A text encoder that is to be
    fine-tuned learns from the log before the earliest split on which a ranker will learn.

    Raises:
        ValueError: the marts end too early, or hold too little.
    """
    recipe = recipe or read_recipe(settings.dataset)
    catalogue = read_catalogue(marts)
    log = History.of(read_interactions(marts.path(INTERACTIONS)), catalogue, protocol.end(marts.as_of))
    split = protocol.validation(log, catalogue) if validation else protocol.split(log, catalogue)
    words, facts = words_of_users(marts), _facts(marts, catalogue, protocol)
    states = _states(settings, marts, split, recipe, LogStates(catalogue, words, facts))
    if wanted(settings):
        parts = training_splits(recipe, split.log, states, catalogue, settings.label_days)
        encoder = adapt(settings, parts[0].make().log, catalogue, progress)
        documents, document = distinct_documents(catalogue)
        vectors = encoder.encode(documents)[document]
    else:
        vectors, _ = document_vectors(settings, catalogue, settings.text_encoder, progress)
    text = TextBasis.of(vectors).standardise(vectors)
    fit_encoder = fit_within(settings.encoder_minutes)
    context = Context(catalogue, text, settings.seed, settings.threads, progress, fit_encoder, users=words)
    return Experiment(protocol, split, context, states, recipe, settings.label_days)


def _states(settings: Settings, marts: Marts, split: Split, recipe: Recipe, of_log: LogStates) -> States:
    """The marts' own states where a run read them at every moment that is needed; else those of the log."""
    folder = settings.states / f"{marts.as_of:%Y-%m-%d}"
    if recipe.protocol != "next_days" or len(np.unique(split.at)) > 1 or not folder.is_dir():
        return of_log
    held = MartStates(of_log.catalogue, *(pq.read_table(folder / f"{name}.parquet") for name in ("users", "items")))
    end = datetime.fromtimestamp(split.log.cut, UTC)
    cuts = Clock(end, settings.label_days, recipe.windows).label_cuts(end)
    moments = set(epoch_seconds(held.item_rows[FEATURE_AT]).tolist())
    return held if {float(split.at[0]), *(cut.timestamp() for cut in cuts)} <= moments else of_log


def _facts(marts: Marts, catalogue: Catalogue, protocol: Protocol) -> Callable[[float], Mapping[str, Floats]]:
    """Prices and promotions at a moment; none where the log is not cut by time, since they would tell what it hides."""

    def at(moment: float) -> Mapping[str, Floats]:
        if not isinstance(protocol, NextDays):
            return {}
        latest = ", ".join(f"arg_max({name}, {FEATURE_AT}) as {name}" for name in FACTS)
        with duckdb.connect() as connection:
            table: pa.Table = connection.sql(
                f"select {ITEM_ID}, {latest} from read_parquet($1) where epoch({FEATURE_AT}) <= $2 group by {ITEM_ID}",
                params=[str(marts.path(ITEM_ACTIVITY)), moment],
            ).to_arrow_table()
        place = catalogue.index_of(table[ITEM_ID])
        columns = {name: np.full(len(catalogue), np.nan, np.float32) for name in FACTS}
        for name, column in columns.items():
            column[place[place >= 0]] = table[name].to_numpy()[place >= 0]
        return columns

    return at


# Figures per user, lists [users, 20] and their scores, and full scores of some users, of one batch.
Part = tuple[dict[str, Values], Integers, Floats, Floats]


@dataclass
class Evaluated:
    """One model's figures per user [users], its lists [users, 20] with their scores, and what it took."""

    values: dict[str, Values]
    lists: Integers
    scores: Floats
    seconds: float
    score_seconds: float
    memory: int
    sample: Floats = field(repr=False)  # full scores of the first users
    recommender: Recommender | None = field(default=None, repr=False)  # of our own model

    @classmethod
    def gather(cls, blocks: list[Part], **took: Any) -> Self:
        values = {name: np.concatenate([block[0][name] for block in blocks]) for name in blocks[0][0]}
        lists, scores, sample = (np.concatenate([block[part] for block in blocks]) for part in (1, 2, 3))
        return cls(values, lists, scores, sample=sample, **took)


def evaluate_model(
    experiment: Experiment, name: str, options: Options, sample: int = 0, made: "Evaluated | None" = None
) -> Evaluated:
    """Fit one model and hold its lists against the answer; ``sample``: keep the full scores of so many users.

    ``made``: the same model on another split of the same log; of our own, that product answers here, too.
    """
    recommender = made.recommender if made else None
    with _peak_memory() as memory:
        started = time.perf_counter()
        model = None if name == WHOLE else fit_model(name, experiment, options)
        if model is None and recommender is None:
            recommender = product(experiment, options)
        fitted = time.perf_counter()
        asked = request_of(experiment)
        blocks = [
            *(_lists(experiment, model, sample) if model else _product_lists(experiment, recommender, asked, sample))
        ]
        done = time.perf_counter()
    seconds = made.seconds if made and recommender else fitted - started
    found = Evaluated.gather(blocks, seconds=seconds, score_seconds=done - fitted, memory=memory())
    return replace(found, recommender=recommender)


def _lists(experiment: Experiment, model: Scorer, sample: int) -> Iterator[Part]:
    split, context = experiment.split, experiment.context
    buyers, place = owners(split.log), experiment.items().place
    for block in scored_blocks(experiment, model):
        lists, best = block.lists(max(KS))
        values = accuracy(lists, block.relevant, block.relevant.sum(axis=1), place)
        values["auc"] = user_auc(block.scores, block.relevant, block.eligible)
        values |= character(lists, block.users, buyers, split.log.n_users, context.catalogue, context.text)
        # Past every candidate of the model a score says nothing: an AUC counts where all are scored.
        values["scored"] = (np.isfinite(block.scores) & block.eligible).sum(axis=1) / block.eligible.sum(axis=1)
        kept = block.scores[: max(sample - block.start, 0)]
        full = np.full((len(kept), len(context.catalogue)), -np.inf, np.float32)
        full[:, block.pool] = kept
        yield values, lists, best, full


def without_discoveries(experiment: Experiment, made: Evaluated) -> Evaluated | None:
    """What our own product reaches where no place is kept for what is new to the user; None where none was."""
    recommender, asked = made.recommender, replace(request_of(experiment), discoveries=0.0)
    if recommender is None or asked.new_only or not recommender.rules.rules.discoveries:
        return None
    started = time.perf_counter()
    blocks = [*_product_lists(experiment, recommender, asked, 0)]
    took = time.perf_counter() - started
    return Evaluated.gather(blocks, seconds=made.seconds, score_seconds=took, memory=made.memory)


def _product_lists(
    experiment: Experiment, recommender: Recommender | None, asked: Request, sample: int
) -> Iterator[Part]:
    assert recommender is not None
    for part in score_batches(recommender, experiment.split, experiment.states, asked):
        figures = part.models[WHOLE]
        full = np.full((max(min(sample - part.start, len(figures.lists)), 0), len(recommender.catalogue)), -np.inf)
        ranked = part.ranked
        kept = ranked.candidates.user < len(full)
        full[ranked.candidates.user[kept], ranked.candidates.item[kept]] = ranked.score[kept]
        yield figures.values, figures.lists, figures.scores, full.astype(np.float32)


def summarise(evaluated: Mapping[str, Evaluated], experiment: Experiment) -> dict[str, Any]:
    """Of each model: mean and 95 % interval of every figure, coverage, seconds and memory; the paired difference in
    NDCG@10 of the best from every other; and the slices."""
    split = experiment.split
    models: dict[str, Any] = {}
    for name, each in evaluated.items():
        facts = summary(each.values, each.lists, split.candidates)
        facts["scored"] = float(each.values["scored"].mean())
        facts |= {"fit_seconds": each.seconds, "score_seconds": each.score_seconds, "peak_memory_bytes": each.memory}
        models[name] = facts
    ndcg = {name: each.values["ndcg@10"] for name, each in evaluated.items()}
    best = max(models, key=lambda name: models[name]["ndcg@10"]["mean"])
    gaps = paired(ndcg[best], {name: values for name, values in ndcg.items() if name != best})
    moment = experiment.items().at
    slices = find_slices(split.log, split.user, split.at, moment, experiment.context.catalogue, split.true_item)
    lists = {name: (ndcg[name], each.lists) for name, each in evaluated.items()}
    scored_slices = score_slices(slices, lists, split.true_user, split.true_item)
    return {"models": models, "best": best, "best_less_other": gaps, "slices": scored_slices}


def export_lists(path: Path, models: Mapping[str, Evaluated], experiment: Experiment, raw: Mapping[str, str]) -> None:
    """Write every model's lists (model, user_id, item_id, rank, score) in the dataset's own identifiers (``raw``)."""
    tables = []
    for name, each in models.items():
        user, place = np.nonzero(each.lists >= 0)
        columns = _named(experiment, raw, user, each.lists[user, place])
        columns |= {"rank": pa.array(place + 1), "score": pa.array(each.scores[user, place])}
        tables.append(pa.table({"model": pa.array([name] * len(user), pa.string()), **columns}))
    _write(path, pa.concat_tables(tables))


def export_scores(path: Path, models: Mapping[str, Evaluated], experiment: Experiment, raw: Mapping[str, str]) -> None:
    """Write the full scores of the sampled users (model, user_id, item_id, score); no row: no candidate."""
    tables = []
    for name, each in models.items():
        user, item = np.nonzero(each.sample > -np.inf)
        columns = _named(experiment, raw, user, item) | {"score": pa.array(each.sample[user, item])}
        tables.append(pa.table({"model": pa.array([name] * len(user), pa.string()), **columns}))
    _write(path, pa.concat_tables(tables))


def _named(experiment: Experiment, raw: Mapping[str, str], user: Integers, item: Integers) -> dict[str, pa.Array]:
    split = experiment.split
    ids = pa.array([raw.get(split.log.user_ids[index], split.log.user_ids[index]) for index in split.user])
    items = pa.array(experiment.context.catalogue.item_ids)
    return {USER_ID: ids.take(pa.array(user)), ITEM_ID: items.take(pa.array(item))}


def _write(path: Path, table: pa.Table) -> None:
    with atomic_file(path) as temporary:
        if path.suffix == ".csv":
            import pyarrow.csv

            pyarrow.csv.write_csv(table, temporary)
        else:
            pq.write_table(table, temporary)


@contextmanager
def _peak_memory() -> "Any":
    """Yields a function that says the most bytes this process held since, sampled 20 times a second, and with it those
    that it started, looked up once a second."""
    process, stop = psutil.Process(), threading.Event()
    peak = [process.memory_info().rss]

    def watch() -> None:
        ticks, started = 0, 0
        while not stop.wait(0.05):
            if ticks % 20 == 0:
                with suppress(psutil.NoSuchProcess):
                    started = sum(child.memory_info().rss for child in process.children())
            ticks += 1
            peak[0] = max(peak[0], process.memory_info().rss + started)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    said: Callable[[], int] = lambda: peak[0]  # noqa: E731
    try:
        yield said
    finally:
        stop.set()
        watcher.join()

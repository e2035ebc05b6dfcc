"""The steps of the pipeline: functions of the settings and the clock alone.

The DAG's tasks and ``zhiyin step`` run the same functions. Data passes between steps as files with a manifest.
"""

import json
import logging
import time
from collections.abc import Callable
from typing import Any

from zhiyin.clock import Clock
from zhiyin.settings import Settings
from zhiyin.store import encryption, sweep

log = logging.getLogger(__name__)

VERDICTS = ("true", "false", "misleading")


def log_progress(stage: str, share: float, words: str) -> None:
    """Progress of long work as log lines, which Airflow's UI and a terminal show."""
    log.info("%s %3.0f %%: %s", stage, 100 * share, words)


def land(settings: Settings, clock: Clock) -> Any:
    """Land the raw tables in the lake, a Parquet file per day; unchanged days are not rewritten."""
    from zhiyin.landing import land

    return land(settings, clock)


def build(settings: Settings, clock: Clock) -> None:
    """One ``dbt build`` of the whole warehouse (in the DAG, Cosmos runs it with a task per model)."""
    from zhiyin.landing import verify_lake
    from zhiyin.warehouse import build

    verify_lake(settings.lake)
    build(settings, clock)


def publish(settings: Settings, clock: Clock) -> Any:
    """Publish the marts as one version of Parquet files, then move the pointer to it."""
    from zhiyin.warehouse import publish

    return publish(settings, clock)


def document(settings: Settings, clock: Clock) -> Any:
    """dbt's documentation of the warehouse, which the docs server shows."""
    from zhiyin.warehouse import document

    return document(settings, clock)


def features(settings: Settings, clock: Clock) -> Any:
    """Feast: views from the dbt manifest, online materialization, point-in-time states, parity of the two stores."""
    import feature_repo

    feature_repo.apply(settings)
    feature_repo.materialize(settings, clock)
    states = feature_repo.read_offline(settings, clock)
    feature_repo.verify_parity(settings, clock)
    return states


def publish_items(settings: Settings, clock: Clock) -> Any:
    """The state of all items as of the run, which the service follows whether or not the challenger is promoted."""
    from zhiyin.recommender.state.item_state import publish_items

    return publish_items(settings, clock)


def finetune(settings: Settings, clock: Clock) -> Any:
    """By hand: make a new text encoder, fine-tuned and distilled as the settings ask; later runs use it."""
    from training.text.towers import make_tower
    from zhiyin.warehouse import current

    return make_tower(settings, clock, current(settings), log_progress)


def encode(settings: Settings, clock: Clock) -> Any:
    """Encode the item documents that are not in the cache.

    Where the settings ask for a fine-tuned or distilled encoder, the first run makes it and later runs use it.
    """
    from training.text.encode_items import encode_items
    from training.text.towers import find_tower
    from zhiyin.warehouse import current

    tower = find_tower(settings, clock) or str(finetune(settings, clock))
    return encode_items(settings, current(settings), tower, log_progress)


def train(settings: Settings, clock: Clock) -> Any:
    """Train generators, encoder and rankers into a bundle: the challenger, which sees nothing of its holdout."""
    from training.tracking import tracked
    from training.train import train
    from zhiyin.registry import nominate
    from zhiyin.warehouse import current

    marts = current(settings)
    with tracked(settings, clock, marts) as run:
        bundle = train(settings, clock, marts, settings.states / clock.date, log_progress, run.record)
        run.bundle = bundle
    nominate(settings, bundle.name, clock)
    return bundle


def evaluate(settings: Settings, clock: Clock) -> None:
    """The challenger, and beside it champion and reference, against the baselines on the days that none has seen."""
    from pipeline.reports import RunReports
    from pipeline.rivals import find_rivals
    from training.evaluation import evaluate
    from training.tracking import track_evaluation
    from zhiyin.registry import challenger
    from zhiyin.warehouse import current

    marts, states = current(settings), settings.states / clock.date
    ours, reports = challenger(settings, clock), RunReports.of(settings, clock)
    evaluation = evaluate(settings, clock, marts, states, settings.bundles / ours, log_progress)
    track_evaluation(settings, ours, reports.write_leaderboard(evaluation))
    for rival in find_rivals(settings, clock, ours).digests:
        theirs = settings.bundles / rival
        # The gate needs no more than the whole.
        reports.write_leaderboard(evaluate(settings, clock, marts, states, theirs, log_progress, alone=False))


def gate(settings: Settings, clock: Clock) -> bool:
    """Refuse a challenger that may be worse than the margin allows, does not beat the baselines, or fails a guardrail.

    The decision and its reasons are logged and kept beside the evaluation; after a refusal the champion stays.
    """
    from pipeline.rivals import decide

    decision = decide(settings, clock)
    for check in decision.checks:
        log.info("%s: %s", "passed" if check.passed else "REFUSED", check.words)
    return decision.promote


def refit(settings: Settings, clock: Clock) -> Any:
    """Refit the evaluated recipe up to the last day, the bundle to serve, and compare it with the evaluated bundle."""
    from pipeline.reports import RunReports
    from training.evaluation.refit_check import check_refit
    from training.train import refit
    from zhiyin.registry import challenger, link_run, record_refit, run_of
    from zhiyin.warehouse import current

    marts, states, judged = current(settings), settings.states / clock.date, challenger(settings, clock)
    bundle = refit(settings, clock, marts, states, judged, log_progress)
    RunReports.of(settings, clock).write_refit(check_refit(settings, clock, states, settings.bundles / judged, bundle))
    record_refit(settings, judged, bundle.name)
    if run_id := run_of(settings, judged):
        link_run(settings, bundle.name, run_id)  # the run that tells how the recipe was judged
    return bundle


def package(settings: Settings, clock: Clock) -> Any:
    """Put the refitted challenger into the BentoML model store, and build a bento that serves it."""
    from bento.packaging import package
    from zhiyin.registry import challenger, refit_of

    return package(settings, refit_of(settings, challenger(settings, clock)))


def promote(settings: Settings, clock: Clock) -> Any:
    """Move the champion pointer to the refitted challenger, if the gate let it through; the service follows it."""
    from pipeline.reports import RunReports
    from zhiyin.registry import challenger, promote, refit_of

    ours, decision = challenger(settings, clock), RunReports.of(settings, clock).decision()
    if decision is None:
        raise ValueError(f"the gate has no decision about {ours[:12]}: run the steps evaluate and gate first")
    return promote(settings, refit_of(settings, ours), clock, decision, judged=ours)


def report(settings: Settings, clock: Clock) -> Any:
    """Evidently: data quality, drift against the reference window, the ranking report; and the audit of sentences."""
    from monitoring import report
    from pipeline.audit import audit_champion
    from pipeline.reports import RunReports
    from zhiyin.registry import challenger

    try:
        evaluation = RunReports.of(settings, clock).leaderboard(challenger(settings, clock))
    except FileNotFoundError as missing:
        log.info("no evaluation to review: %s", missing)
        evaluation = None
    try:
        audit = audit_champion(settings)["lists"]
        log.info("sentences: %d claims true, %d false, %d misleading", *(audit[each] for each in VERDICTS))
    except FileNotFoundError as missing:
        log.info("no sentences to audit: %s", missing)
        audit = None
    return report(settings, clock, evaluation, audit)


IN_ORDER: tuple[Callable[[Settings, Clock], Any], ...] = (
    *(land, build, publish, document, features, publish_items, encode),
    *(train, evaluate, gate, refit, package, promote, report),
)
STEPS = {step.__name__: step for step in (*IN_ORDER, finetune)}


def run_step(name: str, settings: Settings, clock: Clock) -> Any:
    """Run one step, after what killed steps left half-written is removed.

    Its start and seconds are appended to ``steps.jsonl`` (see benchmarks/pipeline.py).
    """
    started = time.time()
    encryption.check(settings)
    encryption.check_writes()
    files, size = sweep(settings.data) if settings.data.is_dir() else (0, 0)
    if files:
        log.info("removed %d files (%.1f MB) that a killed step had left half-written", files, size / 1e6)
    result = STEPS[name](settings, clock)
    took = {"step": name, "as_of": clock.date, "started": started, "seconds": time.time() - started}
    settings.run.mkdir(parents=True, exist_ok=True)
    with (settings.run / "steps.jsonl").open("a") as file:
        file.write(json.dumps(took) + "\n")
    log.info("%s took %.1f s", name, took["seconds"])
    return result

"""The steps of the pipeline, each a call that needs nothing but settings and clock.

The DAG's tasks and ``zhiyin step`` run the same functions. What a step hands on lies on disk, under a manifest.
"""

import json
import logging
import time
from collections.abc import Callable
from typing import Any

from zhiyin.clock import Clock
from zhiyin.settings import Settings

log = logging.getLogger(__name__)


def log_progress(stage: str, share: float, words: str) -> None:
    """Progress of long work, as log lines: what Airflow's UI and a terminal both show."""
    log.info("%s %3.0f %%: %s", stage, 100 * share, words)


def land(settings: Settings, clock: Clock) -> Any:
    """Raw tables into the lake, a Parquet file a day; a day that is there unchanged is left alone."""
    from zhiyin.landing import land

    return land(settings, clock)


def build(settings: Settings, clock: Clock) -> None:
    """One ``dbt build`` of the whole warehouse (in the DAG, Cosmos runs it with a task per model)."""
    from zhiyin.warehouse import build

    build(settings, clock)


def publish(settings: Settings, clock: Clock) -> Any:
    """The marts out of the warehouse as Parquet under one version, then the pointer to it."""
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


def finetune(settings: Settings, clock: Clock) -> Any:
    """By hand: a new text encoder, fine-tuned and made smaller as the settings ask; later runs encode with it."""
    from training.text_towers import make_tower
    from zhiyin.warehouse import current

    return make_tower(settings, clock, current(settings), log_progress)


def encode(settings: Settings, clock: Clock) -> Any:
    """Item documents through the sentence encoder: only those not in the cache.

    Where the settings ask for a fine-tuned or smaller encoder, the first run makes it and later ones go on with it.
    """
    from feature_repo import write_item_embedding
    from training.encode_items import encode_items
    from training.text_towers import find_tower
    from zhiyin.warehouse import current

    tower = find_tower(settings, clock) or str(finetune(settings, clock))
    report = encode_items(settings, current(settings), tower, log_progress)
    write_item_embedding(settings, report.encoder)
    return report


def train(settings: Settings, clock: Clock) -> Any:
    """Candidate generators, interest encoder and ranker into an immutable bundle: the challenger of ``as_of``."""
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
    from training.evaluation import evaluate
    from training.tracking import track_evaluation
    from zhiyin.registry import challenger
    from zhiyin.warehouse import current

    marts, states = current(settings), settings.states / clock.date
    ours = challenger(settings, clock)
    judged = evaluate(settings, clock, marts, states, settings.bundles / ours, progress=log_progress)
    track_evaluation(settings, ours, judged)
    for rival in dict.fromkeys(rival["judged"] for rival in _rivals(settings, clock, ours) if rival):
        theirs = settings.bundles / rival
        evaluate(settings, clock, marts, states, theirs, progress=log_progress, alone=False)  # the gate needs no more


def _rivals(settings: Settings, clock: Clock, ours: str) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The promotions that a challenger is held against: the champion's, and the reference's where it is another.

    A champion of a later day is left out: it has seen the days that it would be judged on.
    """
    from training.evaluation import GateRules
    from zhiyin.registry import champion, reference

    reigning, best = champion(settings), reference(settings, clock, GateRules.of(settings).reference_days)
    if reigning and (reigning["judged"] == ours or reigning["promoted_at_as_of"] > clock.as_of.isoformat()):
        reigning = None
    if best and best["judged"] in (ours, reigning and reigning["judged"]):
        best = None
    return reigning, best


def gate(settings: Settings, clock: Clock) -> bool:
    """Refuse a challenger that may have lost more than a margin, does not beat the baselines, or fails a guardrail.

    The decision and its reasons are logged and kept beside the evaluation; after a refusal the champion stays.
    """
    from training.evaluation import GateRules, gate
    from zhiyin.registry import challenger, champion, hold_of, record_decision, standing
    from zhiyin.store import read_json, write_json

    folder = settings.reports / clock.date
    ours, now = challenger(settings, clock), champion(settings)
    if now and now["judged"] != ours and now["promoted_at_as_of"] > clock.as_of.isoformat():
        raise ValueError(
            f"the champion is of {now['promoted_at_as_of'][:10]}, later than {clock.date}: "
            "it has seen the days it would be judged on; roll back first to promote an earlier model"
        )
    rivals = _rivals(settings, clock, ours)
    files = [folder / f"leaderboard-{digest[:12]}.json" for digest in (ours, *(r["judged"] for r in rivals if r))]
    if missing := [file for file in files if not file.is_file()]:
        raise FileNotFoundError(f"{', '.join(map(str, missing))}: not there; run the step evaluate first")
    judged = {report["bundle"]: report for report in map(read_json, files)}
    reigning, best = (judged[rival["judged"]] if rival else None for rival in rivals)
    promoted_on = ((standing(settings)[-1]["gate"] or {}).get("users") if reigning else None) or None
    held = hold_of(settings, ours)
    decision = gate(
        judged[ours], reigning, best, GateRules.of(settings), promoted_on=promoted_on, held=str(held) if held else None
    )
    write_json(folder / "gate.json", decision.record())
    record_decision(settings, clock, decision)
    for check in decision.checks:
        log.info("%s: %s", "passed" if check.passed else "REFUSED", check.words)
    return decision.promote


def package(settings: Settings, clock: Clock) -> Any:
    """The challenger into the BentoML model store, and a bento that serves it anywhere."""
    from bento.packaging import package
    from zhiyin.registry import challenger

    return package(settings, challenger(settings, clock))


def promote(settings: Settings, clock: Clock) -> Any:
    """Move the champion pointer to the challenger, which the gate must have let through; the service follows it."""
    from zhiyin.registry import Decision, challenger, promote
    from zhiyin.store import read_json

    ours, decided = challenger(settings, clock), settings.reports / clock.date / "gate.json"
    if not decided.is_file():
        raise ValueError(f"the gate has not judged the challenger {ours[:12]}: run the steps evaluate and gate first")
    return promote(settings, ours, clock, Decision.read(read_json(decided)))


def embed(settings: Settings, clock: Clock) -> Any:
    """Where the champion places each user among the items, into the feature store: as of the run, and online."""
    import pyarrow.parquet as pq

    from feature_repo import write_user_interest
    from zhiyin.contract import FEATURE_AT
    from zhiyin.recommender.recommender import Recommender
    from zhiyin.registry import champion

    reigning = champion(settings)
    if reigning is None:
        log.info("there is no champion yet")
        return None
    now = pq.read_table(settings.states / clock.date / "users.parquet", filters=[(FEATURE_AT, "=", clock.as_of)])
    recommender = Recommender.load(settings.bundles / reigning["digest"])
    return write_user_interest(settings, clock, recommender.interests(now))


def report(settings: Settings, clock: Clock) -> Any:
    """Evidently: data quality, drift against the reference window, and the ranking report."""
    from monitoring import report

    return report(settings, clock)


IN_ORDER: tuple[Callable[[Settings, Clock], Any], ...] = (
    *(land, build, publish, document, features, encode),
    *(train, evaluate, gate, package, promote, embed, report),
)
STEPS = {step.__name__: step for step in (*IN_ORDER, finetune)}


def run_step(name: str, settings: Settings, clock: Clock) -> Any:
    """Run one step; its start and seconds are appended to ``steps.jsonl`` (see benchmarks/pipeline.py)."""
    started = time.time()
    result = STEPS[name](settings, clock)
    took = {"step": name, "as_of": clock.date, "started": started, "seconds": time.time() - started}
    settings.run.mkdir(parents=True, exist_ok=True)
    with (settings.run / "steps.jsonl").open("a") as file:
        file.write(json.dumps(took) + "\n")
    log.info("%s took %.1f s", name, took["seconds"])
    return result

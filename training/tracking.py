"""The tracker: every training run in MLflow, in one SQLite file below the home.

Figures are gathered while the training goes on and written when it ends, so that a slow or broken tracker cannot
disturb it: a run that could not be kept is said in a warning, and the bundle stands.
"""

import logging
import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.code import code_digest
from training.evaluation.gate import WHOLE
from training.ranking.fit_ranker import PARAMETERS, TREES
from zhiyin.clock import Clock
from zhiyin.recommender.recipe import read_recipe
from zhiyin.registry import link_run, run_of
from zhiyin.settings import PROJECT, Settings
from zhiyin.store import MANIFEST, read_json
from zhiyin.warehouse import Marts

log = logging.getLogger(__name__)

SHAPING = (  # settings that shape a bundle
    *("user_sample", "label_days", "seed", "threads", "warm_start", "encoder_minutes"),
    *("text_encoder", "text_precision", "text_tuning", "text_layers"),
)
NO_NAME = r"\W+"  # what MLflow may refuse in the name of a figure
METRICS_AT_ONCE = 1_000  # MLflow takes no more in one call
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "WARNING"}


@dataclass
class TrainingRun:
    """One training run while it goes on: what it has measured, and in the end the bundle that it made."""

    settings: Settings
    clock: Clock
    marts: Marts
    started: float = field(default_factory=time.time)
    curves: list[tuple[str, int, float]] = field(default_factory=list)
    bundle: Path | None = None

    def record(self, name: str, step: int, value: float) -> None:
        """A point of a curve."""
        self.curves.append((name, step, value))


@contextmanager
def tracked(settings: Settings, clock: Clock, marts: Marts) -> Iterator[TrainingRun]:
    """Keep what happens inside as a run: finished, or failed where it raises."""
    run = TrainingRun(settings, clock, marts)
    try:
        yield run
    except BaseException:
        with _warned("this failed training run"):
            _write(run, "FAILED")
        raise
    with _warned(f"the run that trained {run.bundle.name[:12] if run.bundle else 'nothing'}"):
        _write(run, "FINISHED")


def track_evaluation(settings: Settings, digest: str, report: dict[str, Any]) -> None:
    """Add what ``evaluate`` says of a bundle to the run that trained it; nothing where that was not kept."""
    run_id = run_of(settings, digest)
    if run_id is None:
        return
    metrics = {
        f"{re.sub(NO_NAME, ' ', model)}/{figure.replace('@', '_at_')}": value["mean"]
        if isinstance(value, dict)
        else value
        for model, figures in report["models"].items()
        for figure, value in figures.items()
    }
    metrics |= {
        f"slices/{re.sub(NO_NAME, ' ', name)}": facts["models"][WHOLE]["mean"]
        for name, facts in report["slices"].items()
    }
    with _warned(f"the evaluation of {digest[:12]}"):
        _log_metrics(_client(settings), run_id, [(name, 0, value) for name, value in metrics.items()])


@contextmanager
def _warned(what: str) -> Iterator[None]:
    """The tracker is no part of the training: its failure is a warning."""
    try:
        yield
    except Exception as error:
        words = (str(error).strip() or type(error).__name__).splitlines()[0]
        log.warning("MLflow could not keep %s: %s. The bundle is not affected by it.", what, words)


def _client(settings: Settings) -> Any:
    os.environ.update(QUIET)  # read when mlflow is first imported, which takes seconds
    from mlflow.tracking import MlflowClient

    settings.tracking.parent.mkdir(parents=True, exist_ok=True)
    return MlflowClient(f"sqlite:///{settings.tracking}")


def _write(run: TrainingRun, status: str) -> None:
    ended = time.time()
    client = _client(run.settings)
    from mlflow.entities import Param

    name = run.settings.dataset
    experiment = client.get_experiment_by_name(name)
    folder = (run.settings.tracking.parent / "artifacts").as_uri()
    experiment_id = experiment.experiment_id if experiment else client.create_experiment(name, folder)
    tags = {
        "marts": run.marts.version,
        "marts_digest": run.marts.manifest["digest"],
        "code_digest": code_digest(),
        **({"mlflow.source.git.commit": commit} if (commit := _commit()) else {}),
        **({"bundle": run.bundle.name} if run.bundle else {}),
    }
    made = client.create_run(experiment_id, int(run.started * 1000), tags, f"{name} {run.clock.date}")
    run_id = str(made.info.run_id)
    client.log_batch(run_id, params=[Param(name, str(value)) for name, value in _parameters(run).items()])
    figures = [("train_seconds", 0, ended - run.started)]
    if run.bundle:
        files = read_json(run.bundle / MANIFEST)["files"].values()
        figures.append(("bundle_bytes", 0, float(sum(file["bytes"] for file in files))))
    _log_metrics(client, run_id, [*run.curves, *figures])
    client.set_terminated(run_id, status, int(ended * 1000))
    if run.bundle:
        link_run(run.settings, run.bundle.name, run_id)


def _parameters(run: TrainingRun) -> dict[str, Any]:
    values: dict[str, Any] = {"as_of": run.clock.as_of.isoformat(), "dataset": run.settings.dataset}
    values |= {name: getattr(run.settings, name) for name in SHAPING}
    recipe = read_recipe(run.settings.dataset)
    values |= {f"quota.{name}": generator.quota for name, generator in recipe.generators.items()}
    values |= {f"ranker.{name}": value for name, value in ({"trees": TREES} | PARAMETERS | recipe.ranker).items()}
    values |= {"recipe": recipe.digest}
    if run.bundle:
        facts = read_json(run.bundle / MANIFEST)
        values |= {name: facts[name] for name in ("fitted_until", "training_splits", "encoders_start_from")}
        values |= {f"version.{name}": version for name, version in facts["versions"].items()}
    return values


def _log_metrics(client: Any, run_id: str, points: list[tuple[str, int, float]]) -> None:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    for start in range(0, len(points), METRICS_AT_ONCE):
        some = points[start : start + METRICS_AT_ONCE]
        client.log_batch(run_id, metrics=[Metric(name, value, now, step) for name, step, value in some])


def _commit() -> str | None:
    """The commit of a checkout; None where it is none, or git is not there."""
    if not (PROJECT / ".git").exists():
        return None
    try:
        said = subprocess.run(["git", "rev-parse", "HEAD"], cwd=PROJECT, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return said.stdout.strip() or None

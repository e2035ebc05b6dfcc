"""What a run leaves beside its bundle: its challenger, the tracker's run that trained it, and the gate's last word."""

from datetime import UTC, datetime
from typing import Any

from zhiyin.clock import Clock
from zhiyin.registry.decision import Decision
from zhiyin.settings import Settings
from zhiyin.store import read_json, write_json

CHALLENGERS = "challengers"
RUNS = "runs"
REFITS = "refits"
LAST_DECISION = "last_decision.json"


def nominate(settings: Settings, digest: str, clock: Clock) -> None:
    """Record the bundle that a run trained: its challenger."""
    write_json(settings.registry / CHALLENGERS / f"{clock.date}.json", {"digest": digest})


def challenger(settings: Settings, clock: Clock) -> str:
    """Digest of the bundle that the run of ``clock`` trained.

    Raises:
        FileNotFoundError: that run has trained none yet.
    """
    path = settings.registry / CHALLENGERS / f"{clock.date}.json"
    if not path.is_file():
        raise FileNotFoundError(f"no bundle was trained as of {clock.date}: run the step train first")
    return str(read_json(path)["digest"])


def record_refit(settings: Settings, judged: str, served: str) -> None:
    """Record the bundle that was fitted to the last day by the recipe of a judged one."""
    write_json(settings.registry / REFITS / f"{judged}.json", {"digest": served})


def refit_of(settings: Settings, judged: str) -> str:
    """Digest of the bundle that is served where ``judged`` was judged.

    Raises:
        FileNotFoundError: it was not refitted yet.
    """
    path = settings.registry / REFITS / f"{judged}.json"
    if not path.is_file():
        raise FileNotFoundError(f"{judged[:12]} was not fitted to the last day yet: run the step refit first")
    return str(read_json(path)["digest"])


def link_run(settings: Settings, digest: str, run_id: str) -> None:
    """Record the tracker's run that trained a bundle; beside the bundle, whose digest must not depend on it."""
    write_json(settings.registry / RUNS / f"{digest}.json", {"mlflow_run_id": run_id})


def run_of(settings: Settings, digest: str) -> str | None:
    """The tracker's run that trained a bundle, the latest if it was trained again; None where none was kept."""
    path = settings.registry / RUNS / f"{digest}.json"
    return str(read_json(path)["mlflow_run_id"]) if path.is_file() else None


def record_decision(settings: Settings, clock: Clock, decision: Decision) -> None:
    """Keep the gate's last word, refusals too, for whoever asks how it stands."""
    facts = {"as_of": clock.as_of.isoformat(), "at": datetime.now(UTC).isoformat(timespec="seconds")}
    write_json(settings.registry / LAST_DECISION, facts | decision.record())


def last_decision(settings: Settings) -> dict[str, Any] | None:
    """``as_of``, ``at`` (wall time) and what ``Decision.record`` holds; None before the first."""
    path = settings.registry / LAST_DECISION
    return dict(read_json(path)) if path.is_file() else None

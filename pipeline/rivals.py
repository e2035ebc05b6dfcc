"""The bundles that a run's challenger is compared with, and the gate's decision about it."""

from dataclasses import dataclass
from typing import Any

from pipeline.reports import RunReports
from training.evaluation import GateRules, gate
from zhiyin import registry
from zhiyin.clock import Clock
from zhiyin.registry import Decision
from zhiyin.settings import Settings


@dataclass(frozen=True)
class Rivals:
    """Digests of the bundles to compare with: the champion, if another one, and the reference, if a third one."""

    champion: str | None
    reference: str | None

    @property
    def digests(self) -> list[str]:
        return [digest for digest in (self.champion, self.reference) if digest]


def find_rivals(settings: Settings, clock: Clock, ours: str) -> Rivals:
    """The rivals of the challenger ``ours``. A later day's champion is none: it saw the challenger's holdout."""
    now, best = registry.champion(settings), registry.reference(settings, clock, GateRules.of(settings).reference_days)
    champion = now["judged"] if now and not _is_later(now, clock) else None
    reference = best["judged"] if best else None
    return Rivals(
        champion if champion != ours else None,
        reference if reference not in (ours, champion) else None,
    )


def _is_later(promotion: dict[str, Any], clock: Clock) -> bool:
    return str(promotion["promoted_at_as_of"]) > clock.as_of.isoformat()


def decide(settings: Settings, clock: Clock) -> Decision:
    """The gate's decision about the run's challenger; kept with the run's reports, and as the last one.

    Raises:
        ValueError: the challenger or a rival is not evaluated, or the champion is of a later day.
    """
    reports, ours = RunReports.of(settings, clock), registry.challenger(settings, clock)
    now = registry.champion(settings)
    if now and now["judged"] != ours and _is_later(now, clock):
        raise ValueError(
            f"the champion is of {now['promoted_at_as_of'][:10]}, later than {clock.date}: "
            "it was trained on days of this holdout; roll back first to promote an earlier model"
        )
    rivals = find_rivals(settings, clock, ours)

    def evaluated(digest: str) -> dict[str, Any]:
        report = reports.leaderboard(digest)
        if report is None:
            raise ValueError(f"{digest[:12]} has not been evaluated as of {clock.date}: run the step evaluate")
        return report

    promotion = registry.standing(settings)[-1] if rivals.champion else None
    hold = registry.hold_of(settings, ours)
    decision = gate(
        evaluated(ours),
        evaluated(rivals.champion) if rivals.champion else None,
        evaluated(rivals.reference) if rivals.reference else None,
        GateRules.of(settings),
        promoted_on=(promotion["gate"] or {}).get("users") if promotion else None,
        held=str(hold) if hold else None,
    )
    reports.write_decision(decision)
    registry.record_decision(settings, clock, decision)
    return decision

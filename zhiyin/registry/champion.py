"""The moves of the champion pointer: promote, rollback, release. The history has each before the pointer shows it."""

from typing import Any

from zhiyin.clock import Clock
from zhiyin.registry.challengers import run_of
from zhiyin.registry.decision import Decision
from zhiyin.registry.history import Entry, append, locked, read_pointer, write_pointer
from zhiyin.registry.lineage import Hold, hold_of, holds, standing
from zhiyin.settings import Settings
from zhiyin.store import MANIFEST


def champion(settings: Settings) -> Entry | None:
    """The pointer, or None.

    ``digest`` is what is served, from the folder ``bundle``; ``judged`` is what the gate judged, the same recipe fitted
    without the days that it was judged on; ``promoted_at_as_of``; ``promotion``, its number in the history.
    """
    return read_pointer(settings)


def promote(
    settings: Settings,
    digest: str,
    clock: Clock,
    decision: Decision,
    judged: str | None = None,
    reason: str = "the gate let it through",
) -> Entry:
    """Make a bundle champion; doing it again changes nothing.

    ``judged``: the bundle that the decision is about, where another is served (the same recipe, refitted).

    Raises:
        FileNotFoundError: one of the bundles is not there.
        ValueError: the decision says no, is about another challenger or compares with another champion than there is
            now; or the bundle's lineage is on hold.
    """
    judged = judged or digest
    for needed in (digest, judged):
        if not (settings.bundles / needed / MANIFEST).is_file():
            raise FileNotFoundError(f"no bundle {needed} in {settings.bundles}")
    with locked(settings):
        now = champion(settings)
        _check(settings, judged, decision, now)
        if now and (now["digest"], now["judged"]) == (digest, judged):
            return now
        entry = append(
            settings,
            action="promote",
            digest=digest,
            judged=judged,
            as_of=clock.as_of.isoformat(),
            reason=reason,
            gate=_figures(decision),
            mlflow_run_id=run_of(settings, judged),
        )
        return write_pointer(settings, entry)


def _check(settings: Settings, judged: str, decision: Decision, now: Entry | None) -> None:
    if decision.challenger != judged:
        raise ValueError(
            f"the gate has not judged the challenger {judged[:12]}, its decision is about {decision.challenger[:12]}: "
            "run the steps evaluate and gate first"
        )
    if not decision.promote:
        raise ValueError(f"the gate refused the challenger {judged[:12]}: {'; '.join(decision.refusals)}")
    reigning = now["judged"] if now else None
    if reigning not in (judged, decision.champion):
        raise ValueError(
            f"the gate compared {judged[:12]} with {(decision.champion or 'no champion')[:12]}, but the champion is "
            f"now {str(reigning)[:12]}: run the steps evaluate and gate again"
        )
    if hold := hold_of(settings, judged):
        raise ValueError(f"{judged[:12]} is of a lineage on hold: {hold}")


def _figures(decision: Decision) -> dict[str, Any]:
    """What the gate measured: of whom, against whom, and by check."""
    figures = {check.name: check.figures for check in decision.checks if check.figures}
    rivals = {"champion": decision.champion, "reference": decision.reference}
    return {"users": decision.users, **rivals, "checks": figures}


def rollback(settings: Settings, reason: str = "no reason given") -> Entry:
    """Make the champion's predecessor champion again and put the lineage of what was taken back on hold.

    Again and again: each call takes one promotion back.

    Raises:
        ValueError: there is no predecessor.
        FileNotFoundError: its bundle is gone.
    """
    with locked(settings):
        stands = standing(settings)
        if len(stands) < 2:
            raise ValueError("there is no earlier champion to go back to")
        before, back = stands[-2:]
        if not (settings.bundles / before["digest"] / MANIFEST).is_file():
            raise FileNotFoundError(f"the earlier champion's bundle {before['digest']} is gone from {settings.bundles}")
        taken = {name: back[name] for name in ("number", "digest", "judged")}
        _move(settings, "rollback", before, reason, took_back=taken)
        return write_pointer(settings, before)


def release(settings: Settings, reason: str = "no reason given") -> list[Hold]:
    """Lift every hold: what was rolled back may be promoted again. Returns what was on hold."""
    with locked(settings):
        held, stands = holds(settings), standing(settings)
        if held:
            _move(settings, "release", stands[-1], reason)
        return held


def _move(settings: Settings, action: str, to: Entry, reason: str, **facts: Any) -> None:
    same = {name: to[name] for name in ("digest", "judged", "as_of", "promotion", "mlflow_run_id")}
    append(settings, action=action, **same, reason=reason, **facts)

"""What follows from the history: which promotions stand, what is on hold, and where the next training starts.

Promotions stack up: one adds to those that stand, a rollback takes the last one off and puts its lineage on hold.
A lineage is a judged bundle and every bundle whose interest encoder goes on from it, by the ``encoders_start_from`` of
their manifests.
"""

from dataclasses import dataclass
from datetime import timedelta

from zhiyin.clock import Clock
from zhiyin.registry.history import Entry, read_history
from zhiyin.settings import Settings
from zhiyin.store import MANIFEST, read_json

LIFT = "`zhiyin release` lifts the hold"


@dataclass(frozen=True)
class Hold:
    """A judged bundle that was rolled back: neither it nor what goes on from it is promoted until a release."""

    judged: str
    digest: str
    at: str | None
    actor: str | None
    reason: str

    def __str__(self) -> str:
        return f"{self.digest[:12]} was rolled back at {self.at} by {self.actor} ({self.reason}); {LIFT}"


def standing(settings: Settings) -> list[Entry]:
    """The promotions that no rollback has taken back, oldest first; the last is the champion's."""
    return _replay(read_history(settings))[0]


def holds(settings: Settings) -> list[Hold]:
    """What is on hold, oldest first."""
    return list(_replay(read_history(settings))[1].values())


def _replay(history: list[Entry]) -> tuple[list[Entry], dict[str, Hold]]:
    stands: list[Entry] = []
    held: dict[str, Hold] = {}
    for entry in history:
        if entry["action"] == "promote":
            stands.append(entry)
        elif entry["action"] == "rollback":
            back = stands.pop()
            held[back["judged"]] = Hold(back["judged"], back["digest"], entry["at"], entry["actor"], entry["reason"])
        elif entry["action"] == "release":
            held = {}
    for entry in stands:  # one judged bundle may have been promoted twice, refitted anew
        held.pop(entry["judged"], None)
    return stands, held


def hold_of(settings: Settings, judged: str) -> Hold | None:
    """The hold on a bundle's lineage; None where it may be promoted."""
    stands, held = _replay(read_history(settings))
    ends = {entry["judged"] for entry in stands}
    bundle: str | None = judged
    while bundle and bundle not in ends:  # what stands is on no hold, nor is what it goes on from
        if bundle in held:
            return held[bundle]
        manifest = settings.bundles / bundle / MANIFEST
        bundle = read_json(manifest).get("encoders_start_from") if manifest.is_file() else None
    return None


def start_of(settings: Settings, clock: Clock) -> str | None:
    """The judged bundle from whose encoders a run goes on: of the last standing promotion before its day.

    Before its day, so that a run that is repeated after its own promotion starts where it did: the same bundle again.
    """
    earlier = [entry for entry in standing(settings) if entry["as_of"] < clock.as_of.isoformat()]
    return str(earlier[-1]["judged"]) if earlier else None


def reference(settings: Settings, clock: Clock, days: int) -> Entry | None:
    """The promotion, of those that stand, that did best in the ``days`` before ``clock``; None where there is none.

    Best is where the sum of the measured differences is highest: each promotion adds its mean paired difference from
    the champion that it took over from. Of two equals it is the later one. A reference is evaluated anew on the
    challenger's window, so only its choice, not its figure, comes from the past.
    """
    first, last = (clock.as_of - timedelta(days=days)).isoformat(), clock.as_of.isoformat()
    best, height, highest = None, 0.0, 0.0
    for entry in standing(settings):
        if not first <= entry["as_of"] <= last:
            continue
        gain = entry["gate"]["checks"].get("champion") if entry["gate"] else None
        height += gain["mean"] if gain else 0.0
        if _may_be_judged(settings, entry["judged"], clock) and (best is None or height >= highest):
            best, highest = entry, height
    return best


def _may_be_judged(settings: Settings, judged: str, clock: Clock) -> bool:
    """Whether a bundle is there and has seen nothing of the run's window (which a change of ``label_days`` widens)."""
    manifest = settings.bundles / judged / MANIFEST
    if not manifest.is_file():
        return False
    facts = read_json(manifest)
    # A bundle that left one event of each user out never sees a later one.
    before = str(facts.get("fitted_until", "")) <= clock.evaluation_cut.isoformat()
    return before or facts.get("protocol") == "leave_one_out"

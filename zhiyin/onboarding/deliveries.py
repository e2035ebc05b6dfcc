"""What a later delivery of a source will bring, and how fresh its log should be: guesses, for the engineer to check."""

from dataclasses import dataclass
from typing import Any

from zhiyin.landing.source import Files, Source
from zhiyin.landing.table import DELIVERIES
from zhiyin.onboarding.mapping import Proposal, UnclearError
from zhiyin.onboarding.profile import Column, Profile, connect
from zhiyin.onboarding.staging_sql import quoted

LATEST_DAYS = 180  # of the log that say how often something happens
LEAST_DAYS = 7  # without an event that fail a build


@dataclass(frozen=True)
class Delivery:
    """``meta.land.delivery`` and ``identity`` of the events, and why."""

    kind: str
    identity: tuple[str, ...]
    reason: str

    @property
    def definition(self) -> dict[str, Any]:
        """What ``meta.land`` says of it."""
        return {"delivery": self.kind} | ({"identity": list(self.identity)} if self.identity else {})


def delivery_of(profile: Profile, proposal: Proposal, said: str | None = None) -> Delivery:
    """Guess what the source of the events delivers; ``said``: the engineer's answer.

    Raises:
        UnclearError: the answer is no kind of delivery.
    """
    if said is not None and said not in DELIVERIES:
        raise UnclearError(f"--delivery {said}: a delivery is one of {', '.join(DELIVERIES)}")
    event_id = proposal.columns["events"].get("event_id")
    identity = (event_id.sql,) if event_id and _is_unique(profile.source, event_id) else ()
    if said is not None:
        return Delivery(said, identity if said == "append" else (), "you said so")
    if not isinstance(profile.source, Files):
        return Delivery("replace", (), "a table holds whole days; of a day that changes, the new rows count")
    if any(sign in profile.source.location for sign in "*?["):
        return Delivery("replace", (), "files pile up under this name, and all of them are read")
    if identity:
        return Delivery(
            "append", identity, f"rows have an id, {event_id.name if event_id else ''}, so they can be merged"
        )
    return Delivery("append", (), "a later file of this name may hold new rows only; equal rows count once")


def _is_unique(source: Source, column: Column) -> bool:
    with connect(source) as connection:
        return bool(
            connection.execute(f"select count(*) = count(distinct {column.sql}) from {source.relation()}").fetchall()[
                0
            ][0]
        )


def freshness_of(profile: Profile, proposal: Proposal, occurred_at: str) -> dict[str, Any] | None:
    """dbt's freshness of the events by the longest gap in the latest days; None where the source knows no moments."""
    if proposal.order_only:
        return None
    with connect(profile.source) as connection:
        gap = connection.execute(
            f"with days as (select distinct try(({occurred_at})::date) as day from {profile.source.relation()}),"
            f" latest as (from days where day > (select max(day) from days) - {LATEST_DAYS})"
            " select max(day - before) from (select day, lag(day) over (order by day) as before from latest)"
        ).fetchall()[0][0]
    warn = 1 + int(gap or 1)
    return {
        "loaded_at_query": f"{{{{ loaded_at('{quoted(occurred_at)}') }}}}",
        "freshness": {
            "warn_after": {"count": warn, "period": "day"},
            "error_after": {"count": max(3 * warn, LEAST_DAYS), "period": "day"},
        },
    }

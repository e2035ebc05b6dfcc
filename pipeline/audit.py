"""The champion's lists of a sample of users, and the audit of their sentences."""

import zlib
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from zhiyin import registry
from zhiyin.landing.identifiers import raw_users
from zhiyin.recommender.lists import Slate
from zhiyin.recommender.recommender import Recommender
from zhiyin.recommender.slate.rules import read_rules
from zhiyin.recommender.state.item_state import current_version, read_items, with_published_items
from zhiyin.recommender.state.session import with_session
from zhiyin.settings import Settings
from zhiyin.warehouse import current

USERS = 150
K = 10


def audit_champion(settings: Settings, users: int = USERS, buy: int = 0) -> dict[str, dict[str, Any]]:
    """The audit of the champion's lists of so many users, drawn by a hash; see ``monitoring.audit``.

    ``buy``: how many of the first items each user then takes, live; the lists after that are audited as well.

    Returns:
        ``lists``, and with ``buy`` also ``after``: ``monitoring.audit.Audit.facts``.

    Raises:
        FileNotFoundError: there is no champion, or no marts are published.
    """
    champion = registry.champion(settings)
    if champion is None:
        raise FileNotFoundError("there is no champion yet: run the pipeline first, with `zhiyin run --as-of DATE`")
    recommender = Recommender.load(Path(champion["bundle"]), read_rules(settings.rules) if settings.rules else None)
    if version := current_version(settings):
        recommender = with_published_items(recommender, read_items(settings, version))
    return audit_recommender(settings, recommender, users, buy)


def audit_recommender(settings: Settings, recommender: Recommender, users: int, buy: int) -> dict[str, dict[str, Any]]:
    """The same of a recommender in memory."""
    from feature_repo import OnlineStates
    from monitoring.audit import AuditedList, Event, audit

    persons = raw_users(settings)
    drawn = sorted(persons, key=lambda user: (zlib.crc32(user.encode()), user))[:users]
    states = OnlineStates(settings)
    rows = [states.user(user) or {"user_id": user} for user in drawn]
    moments = [row.get("feature_at") or recommender.as_of for row in rows]
    about: dict[str, Any] = {
        "state_at": _naive(recommender.as_of),
        "fitted_until": _naive(datetime.fromisoformat(recommender.manifest["fitted_until"])),
        "timezone": recommender.wording.words.timezone,
        "persons": persons,
    }

    def lists(slates: list[Slate], moments: list[datetime]) -> list[AuditedList]:
        return [
            AuditedList(persons[slate.user_id], _naive(at), [asdict(item) for item in slate.items])
            for slate, at in zip(slates, moments, strict=True)
        ]

    slates = recommender.recommend(rows, K, "text")
    marts = current(settings)
    found = {"lists": audit(settings, marts, lists(slates, moments), **about).facts()}
    if buy:
        kind = recommender.manifest["event_types"][0]
        events, after, later = [], [], []
        for row, slate, moment in zip(rows, slates, moments, strict=True):
            at = moment + timedelta(hours=1)
            bought = [item.item_id for item in slate.items[:buy]]
            events += [Event(persons[slate.user_id], item, f"live {slate.user_id}", _naive(at)) for item in bought]
            of_each = {
                "types": kind,
                "at": at.timestamp(),
                "values": 1.0,
                "amounts": -1.0,
                "baskets": "",
                "queries": "",
            }
            session = {f"session_{name}": [value] * len(bought) for name, value in of_each.items()}
            session["session_item_ids"] = bought
            later.append(at + timedelta(minutes=1))
            after.append(with_session(row, session, later[-1].timestamp()))
        slates = recommender.recommend(after, K, "text")
        found["after"] = audit(settings, marts, lists(slates, later), **about, since=events).facts()
    return found


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)

"""The live session: what a user did since the stored state, and what it says of taste right now."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from zhiyin.contract import BY_CHOICE, EVENT_TYPES, FEATURE_AT
from zhiyin.recommender.state.catalogue import Catalogue
from zhiyin.recommender.state.follow import Events, codes_of, follow
from zhiyin.recommender.state.grades import RATING
from zhiyin.recommender.state.history import event_type_codes
from zhiyin.recommender.state.signals import Signals
from zhiyin.recommender.state.users import Users

PAUSE = timedelta(minutes=30)  # after it a session is over
HALF_LIFE = timedelta(hours=2)  # of what an event says of taste right now
KEPT = timedelta(days=1)  # for so long it says something

# What an event says of its item and of items like it, where what is taken says 1.
SAYS = {"purchase": 1.0, "cart": 0.8, "rating": 0.6, "click": 0.5, "search": 0.5, "view": 0.3}
AGAINST = ("dismiss", "remove")  # types of events that say no; so does a rating below the user's usual
NO = -1.0

LISTS = ("item_ids", "types", "at", "values", "amounts", "baskets", "queries")
REQUESTED_AT = "session_requested_at"


def with_session(row: dict[str, Any], session: Mapping[str, Any] | None, at: float | None = None) -> dict[str, Any]:
    """The row with the live events and the moment of the request (epoch seconds), as ``follow_sessions`` reads it.

    ``at`` None: the moment of the latest event.
    """
    lists = {} if session is None else {f"session_{name}": list(session[f"session_{name}"]) for name in LISTS}
    return {**row, **lists, **({} if at is None else {REQUESTED_AT: at})}


def in_session(row: Mapping[str, Any]) -> bool:
    """Whether the request came in a session: no longer than ``PAUSE`` after the latest live event."""
    latest = max(row.get("session_at") or (), default=None)
    return latest is not None and (row.get(REQUESTED_AT) or latest) - latest <= PAUSE.total_seconds()


def moment_of(row: Mapping[str, Any]) -> datetime | None:
    """The moment of a request with a live session, never before its latest event; None without one."""
    moments = [*(row.get("session_at") or ()), *([row[REQUESTED_AT]] if row.get(REQUESTED_AT) else ())]
    return datetime.fromtimestamp(max(moments), UTC) if moments else None


def follow_sessions(users: Users, rows: Any, catalogue: Catalogue, types: Collection[str]) -> Users:
    """The users after the live events in their ``rows``, as of the request.

    Of the events at or after the stored state, those of ``types`` (of the log that the models learned from) change the
    state as the log would have; all of the last day are signals. The moment is that of the request, and never before
    an event.
    """
    if isinstance(rows, pa.Table) or not any(row.get("session_at") or row.get(REQUESTED_AT) for row in rows):
        return users
    lists = [[value for row in rows for value in row.get(f"session_{name}") or ()] for name in LISTS]
    user = np.repeat(np.arange(len(users)), [len(row.get("session_at") or ()) for row in rows])
    item = catalogue.index_of(pa.array(lists[0], pa.string()))
    kinds, at = np.array(lists[1], object), np.array(lists[2], np.float64)
    value, amount = (np.where(np.array(x, float) < 0, np.nan, np.array(x, float)) for x in lists[3:5])
    basket = pc.rank(pa.array(lists[5], pa.string()), tiebreaker="dense").to_numpy().astype(np.int64)
    requested = np.array([row.get(REQUESTED_AT) or -np.inf for row in rows])
    moment = np.maximum(users.at, requested)
    np.maximum.at(moment, user, at)
    since = np.array([-np.inf if row.get(FEATURE_AT) is None else row[FEATURE_AT].timestamp() for row in rows])
    code = event_type_codes(pa.array(lists[1], pa.string()))

    learned = (item >= 0) & (at >= since[user]) & np.isin(code, codes_of(types))
    columns = (user, item, at, code, value.astype(np.float32), amount.astype(np.float32), basket)
    after = follow(users, _in_order(Events(*columns).where(learned)), moment, catalogue, types)
    return _told(after, Events(*columns), kinds, np.array(lists[6], object), learned)


def after_events(
    users: Users, events: Events, moment: npt.NDArray[np.float64], catalogue: Catalogue, types: Collection[str]
) -> Users:
    """The same of events of a log, all of ``types``: users in the midst of a session at ``moment`` [users]."""
    after = follow(users, _in_order(events), moment, catalogue, types)
    names = np.array(["", *EVENT_TYPES], object)
    return _told(after, events, names[events.type], np.full(len(events), "", object), np.ones(len(events), bool))


def _in_order(events: Events) -> Events:
    """By user, the basket's first moment, basket and item."""
    opened = np.full(int(events.basket.max(initial=0)) + 1, np.inf)
    np.minimum.at(opened, events.basket, events.at)
    order = np.lexsort((events.item, events.basket, opened[events.basket], events.user))
    return Events(*(values[order] for values in vars(events).values()))


def _told(
    after: Users,
    events: Events,
    kinds: npt.NDArray[np.object_],
    queries: npt.NDArray[np.object_],
    learned: npt.NDArray[np.bool_],
) -> Users:
    """The users with what their latest events say."""
    user, item, at, code, value = events.user, events.item, events.at, events.type, events.value
    says = np.array([NO if kind in AGAINST else SAYS.get(kind, 0.0) for kind in kinds])
    rated = code == RATING
    usual = after.scale.usual(after.repeats.user, after.repeats.grade, len(after))
    count = np.bincount(user[rated], minlength=len(after))
    mean = np.bincount(user[rated], value[rated], len(after)) / np.maximum(count, 1)
    usual = np.where(np.isnan(usual), mean, usual)[user]  # where no grade was learned, of the live ones
    says = np.where(rated & (value < usual), NO, says)
    age = np.maximum(after.at[user] - at, 0)
    weight = (says * 0.5 ** (age / HALF_LIFE.total_seconds())).astype(np.float32)
    latest = np.full(len(after), -np.inf)
    np.maximum.at(latest, user, at)
    kept = (age <= KEPT.total_seconds()) & (weight != 0) & ((item >= 0) | (kinds == "search"))
    taken = learned & np.isin(kinds, BY_CHOICE)
    if not kept.any():
        return after
    told = np.bincount(user[kept], minlength=len(after)) > 0
    return replace(
        after,
        known=after.known | told,
        session=Signals(
            user[kept],
            item[kept],
            weight[kept],
            taken[kept],
            queries[kept],
            after.at - latest <= PAUSE.total_seconds(),
        ),
    )

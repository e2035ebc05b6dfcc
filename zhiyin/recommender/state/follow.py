"""A user's state after further events: the one definition of all that a log tells of a user.

``follow`` goes on from a stored state. From no state and a whole log it gives the columns of the marts
(tests/data/test_log_states.py), so a session, a moment inside a day and a whole log are read alike. The stored state
holds what it takes, but for two things that it tells roughly: a window's events that are older than the stored
sequence leave it only with the next state of the marts, and of money that leaves a window the user's mean is taken.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from zhiyin.contract import EVENT_TYPES, PURCHASE, taken_types
from zhiyin.recommender.state.affinity import first_of_each, follow_affinities
from zhiyin.recommender.state.catalogue import SECONDS_PER_DAY, Catalogue, Floats, Integers
from zhiyin.recommender.state.history import History
from zhiyin.recommender.state.users import Repeats, Sequence, Users

SHORT, LONG = 14.0, 90.0  # half-lives in days, as in dbt_project/models/marts
LENGTH = 256  # events of a sequence, the latest
MOST_ITEMS = 2_000  # of a user's habits, the latest
WINDOWS = (7, 28, 90)

Moments = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Events:
    """Events of a batch of users, by user, moment, basket and item; a basket's events stand together."""

    user: Integers  # rows of the batch
    item: Integers
    at: Moments
    type: Integers
    value: Floats  # pieces or grade, NaN where unknown
    amount: Floats  # money, NaN where unknown
    basket: Integers

    def __len__(self) -> int:
        return len(self.user)

    @classmethod
    def of(cls, log: History, row: Integers | Mask, user: Integers) -> "Events":
        """Some rows of a log, as events of these users of the batch."""
        return cls(user, log.item[row], log.at[row], log.type[row], log.value[row], log.amount[row], log.basket[row])

    def where(self, kept: Mask) -> "Events":
        return Events(*(values[kept] for values in vars(self).values()))


def codes_of(types: Collection[str]) -> list[int]:
    """The codes of event types, as in ``Users``."""
    return [EVENT_TYPES.index(kind) + 1 for kind in types]


def follow(
    users: Users, events: Events, at: Moments, catalogue: Catalogue, types: Collection[str], length: int = LENGTH
) -> Users:
    """The users as of ``at`` [users] (epoch seconds), after ``events`` between their moments and ``at``.

    ``types``: the event types of the log that the models learned from; events are of these alone.
    """
    taken = codes_of(taken_types(list(types)))
    days = np.maximum(at - users.at, 0.0) / SECONDS_PER_DAY
    sequence = _join(users.sequence, events, len(users))
    categories, labels = follow_affinities(users, sequence, len(users.sequence.user), catalogue)
    pieces = np.where(events.type == codes_of([PURCHASE])[0], events.value, 0.0) if PURCHASE in types else events.value
    return replace(
        users,
        at=at,
        known=users.known | (np.bincount(events.user, minlength=len(users)) > 0),
        columns=_columns(users, events, sequence, at, days, taken),
        repeats=_repeats(users.repeats, events, pieces, at, days, np.isin(events.type, taken), len(catalogue)),
        sequence=_latest(sequence, len(users), length),
        affinity=categories,
        label_affinity=labels,
    )


def _join(stored: Sequence, events: Events, n: int) -> Sequence:
    """The stored sequence and the events after it: first all that is stored, then all that is new."""
    opens = np.r_[True, (events.basket[1:] != events.basket[:-1]) | (events.user[1:] != events.user[:-1])]
    place = np.cumsum(opens[: len(events)])
    newest = np.full(n, -1)
    np.maximum.at(newest, stored.user, stored.basket)
    first = np.full(n, np.iinfo(np.int64).max)
    np.minimum.at(first, events.user, place)
    basket = newest[events.user] + 1 + place - first[events.user]

    def joined(name: str) -> npt.NDArray[Any]:
        return np.concatenate([getattr(stored, name), getattr(events, name)])

    own = joined("user"), joined("item"), joined("at"), joined("type"), joined("value")
    return Sequence(*own, np.concatenate([stored.basket, basket]))


def _latest(sequence: Sequence, n: int, length: int) -> Sequence:
    """The latest events of each user, baskets counted from the first that is kept."""
    order = np.argsort(sequence.user, kind="stable")
    counts = np.bincount(sequence.user, minlength=n)
    nth = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    kept = order[nth >= np.repeat(counts - np.minimum(counts, length), counts)]
    user, item, at, kind, value, basket = (values[kept] for values in vars(sequence).values())
    first = np.full(n, np.iinfo(np.int64).max)
    np.minimum.at(first, user, basket)
    return Sequence(user, item, at, kind, value, basket - first[user])


def _columns(
    users: Users, events: Events, sequence: Sequence, at: Moments, days: Moments, taken: list[int]
) -> dict[str, Floats]:
    """Each window as it was, with what entered it and without what left it; other moments have grown older."""
    n, old, empty = len(users), len(users.sequence.user), np.zeros(len(users))
    stored = {name: np.nan_to_num(values.astype(np.float64)) for name, values in users.columns.items()}
    bought = np.where(sequence.type == codes_of([PURCHASE])[0], 1.0, 0.0)
    usual = _over(stored.get("amount_28d", empty), stored.get("purchases_28d", empty))
    paid = bought * np.concatenate([np.nan_to_num(usual)[users.sequence.user], np.nan_to_num(events.amount)])
    chosen = np.isin(sequence.type, taken)
    opening = np.flatnonzero(chosen)
    keys = sequence.user[opening] * (int(sequence.basket.max(initial=0)) + 1) + sequence.basket[opening]
    begins = np.zeros(len(chosen))
    begins[opening[np.unique(keys, return_index=True)[1]]] = 1.0

    def count(rows: slice, moment: Moments) -> dict[str, npt.NDArray[Any]]:
        owner, item = sequence.user[rows], sequence.item[rows]
        age = (moment[owner] - sequence.at[rows]) / SECONDS_PER_DAY
        inside = {window: (age <= window).astype(np.float64) for window in WINDOWS}
        counted = {f"events_{window}d": np.bincount(owner, held, n) for window, held in inside.items()}
        for window, held in inside.items():
            counted[f"baskets_{window}d"] = np.bincount(owner, held * begins[rows], n)
        counted["taken_90d"] = np.bincount(owner, inside[90] * chosen[rows], n)
        counted["purchases_28d"] = np.bincount(owner, inside[28] * bought[rows], n)
        counted["amount_28d"] = np.bincount(owner, inside[28] * paid[rows], n)
        breadth, recent = int(sequence.item.max(initial=0)) + 1, inside[28] > 0
        pairs = np.unique(owner[recent] * breadth + item[recent])
        counted["distinct_items_28d"] = np.bincount(pairs // breadth, minlength=n).astype(np.float64)
        return counted

    size = stored.get("mean_basket_size_90d", empty)
    stored["taken_90d"] = np.rint(size * stored.get("baskets_90d", empty))
    before, now = count(slice(0, old), users.at), count(slice(None), at)
    columns: dict[str, npt.NDArray[Any]] = {
        name: np.maximum(stored.get(name, empty) + now[name] - before[name], 0.0) for name in now
    }
    columns["mean_basket_size_90d"] = _over(columns.pop("taken_90d"), columns["baskets_90d"])
    latest = users.columns.get("last_event_at", np.full(n, np.nan)) + days
    np.fmin.at(latest, events.user, (at[events.user] - events.at) / SECONDS_PER_DAY)
    columns["last_event_at"] = latest
    older = {name: values + days for name, values in users.columns.items() if name.endswith("_at")}
    kept = users.columns.keys() if users.columns and users.known.any() else columns.keys()
    changed = {name: values for name, values in (older | columns).items() if name in kept}
    return users.columns | {name: values.astype(np.float32) for name, values in changed.items()}


def _over(above: Moments, below: Moments) -> Moments:
    return np.asarray(np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0))


def _repeats(
    stored: Repeats, events: Events, pieces: Floats, at: Moments, days: Moments, taken: Mask, n_items: int
) -> Repeats:
    """The stored habits grown older, and those of the events, joined by user and item."""
    since = days[stored.user]
    mine = stored.user * n_items + stored.item
    new = events.where(taken)
    keys, place = np.unique(np.r_[mine, new.user * n_items + new.item], return_inverse=True)
    old, fresh = place[: len(mine)], place[len(mine) :]
    breadth = int(new.basket.max(initial=0)) + 1
    held, one = np.unique(fresh * breadth + new.basket, return_index=True)  # an item counts once a basket
    entry, age = held // breadth, ((at[new.user] - new.at) / SECONDS_PER_DAY)[one]

    def total(of_stored: npt.NDArray[Any], of_new: npt.NDArray[Any]) -> Moments:
        return np.asarray(np.bincount(old, of_stored, len(keys)) + np.bincount(entry, of_new, len(keys)))

    baskets = total(stored.baskets, np.ones(len(age)))
    quantity = np.bincount(place, np.r_[stored.quantity, np.nan_to_num(pieces[taken])], len(keys))
    oldest, newest = np.zeros(len(keys)), np.full(len(keys), np.inf)
    np.maximum.at(oldest, np.r_[old, entry], np.r_[stored.first_days + since, age])
    np.minimum.at(newest, np.r_[old, entry], np.r_[stored.last_days + since, age])
    short, long = (
        total(values * 0.5 ** (since / half_life), 0.5 ** (age / half_life))
        for values, half_life in ((stored.short, SHORT), (stored.long, LONG))
    )
    gap = np.where(baskets > 1, (oldest - newest) / np.maximum(baskets - 1, 1), np.nan)
    untouched = ~np.isin(old, fresh)
    gap[old[untouched]] = stored.gap_days[untouched]
    grade = np.full(len(keys), np.nan)
    grade[old] = stored.grade
    given = np.flatnonzero(new.type == codes_of(["rating"])[0])  # oldest first, so that the latest grade stays
    grade[fresh[given]] = new.value[given]
    user, item = keys // n_items, keys % n_items
    kept = first_of_each(user, np.lexsort((item, newest, user)), MOST_ITEMS)
    numbers = (baskets, quantity, oldest, newest, short, long, np.where(gap > 0, gap, np.nan), grade)
    return Repeats(user[kept], item[kept], *(values[kept].astype(np.float32) for values in numbers))

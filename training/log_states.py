"""Users' and items' states read off a log, at its end: the columns of the marts for any log, however it was split.

The platform reads states from Feast at the moments of a run. A protocol asks at other moments, of each user at another
one, or of a log without some items. The two readings are the same numbers (tests/data/test_log_states.py), where

- the log holds every item: of a log of some, sequences and lists of habits count what it holds;
- no basket goes on at a second moment: ``History`` gives it its first, the marts each event its own.

What a log does not tell (``USER_FACTS``, ``ITEM_FACTS``) is known by other means and given as ``facts``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from training.protocols import Split
from zhiyin.contract import PURCHASE
from zhiyin.recommender.state.catalogue import SECONDS_PER_DAY, Catalogue, Floats, Integers, ItemState, listed, words_of
from zhiyin.recommender.state.follow import LENGTH, WINDOWS, Events, follow
from zhiyin.recommender.state.history import History, taken_codes
from zhiyin.recommender.state.users import Users

# Columns of the marts that a log does not tell.
USER_FACTS = ("open_offers",)
ITEM_FACTS = ("available", "discount_share_28d", "price", "promoted")


@dataclass(frozen=True)
class LogStates:
    """States read off the log of a split, for the splits at whose moments the marts hold none.

    ``words``: what is known of users in words at a moment; ``facts``: columns of items that a log does not tell.
    """

    catalogue: Catalogue
    words: Callable[[float], pa.Table] | None = None
    facts: Callable[[float], Mapping[str, Floats]] = lambda moment: {}

    def users(self, split: Split, start: int, stop: int) -> Users:
        rows = slice(start, stop)
        users = read_users(split.log, split.user[rows], split.at[rows], self.catalogue)
        if self.words is None:
            return users
        return replace(users, words=words_of(users.ids, self.words(split.log.cut)))

    def items(self, log: History, moment: float, least: int) -> ItemState:
        everything = read_items(log, moment, np.ones(log.n_items, bool), self.facts(moment))
        return everything.only(listed(everything.columns, log.n_items, least))


def read_users(
    log: History, user: Integers, at: npt.NDArray[np.float64], catalogue: Catalogue, length: int = LENGTH
) -> Users:
    """States of the users with index ``user`` (ascending), days counted back from ``at`` [users] (epoch seconds)."""
    first, last = np.searchsorted(log.user, user), np.searchsorted(log.user, user, "right")
    counts = last - first
    owner = np.repeat(np.arange(len(user)), counts)
    rows = np.arange(len(owner)) + np.repeat(first - np.r_[0, np.cumsum(counts)[:-1]], counts)
    events = Events.of(log, rows, owner)
    unknown = Users.unknown([log.user_ids[index] for index in user], at)
    known = follow(unknown, events, at, catalogue, log.event_types, length)
    return replace(known, scale=log.scale, taken_types=taken_codes(log.event_types))


def read_items(log: History, at: float, eligible: npt.NDArray[np.bool_], facts: Mapping[str, Floats]) -> ItemState:
    """States of all items of a log at a moment; ``facts``: columns that a log does not tell, float32 [items].

    An item without an event has no state: NaN.
    """
    n, item, days = log.n_items, log.item, (at - log.at) / SECONDS_PER_DAY
    columns: dict[str, npt.NDArray[Any]] = {"events": log.item_counts}
    for window in WINDOWS:
        columns[f"events_{window}d"] = np.bincount(item[days <= window], minlength=n)

    pair = log.user * n + item
    for window in (28, 90):
        columns[f"users_{window}d"] = _users_of(pair[days <= window], n)

    columns["users"] = _users_of(pair, n)

    # The days on which a user took an item, in the order of user, item and day.
    taken = log.taken
    keys = pair[taken] * 100_000 + (log.at[taken] // SECONDS_PER_DAY).astype(np.int64)
    visit, visit_of = np.unique(keys, return_inverse=True)
    day, visited = visit % 100_000, visit // 100_000
    returns = np.r_[False, visited[1:] == visited[:-1]][: len(visit)]  # the user took the item on an earlier day
    gap = np.diff(day, prepend=0)[returns]
    takers = _users_of(visited, n)
    returned = _users_of(pair[taken][returns[visit_of] & (days[taken] <= 14)], n)
    columns["rebuy_rate_14d"] = (returned + 0.5) / (takers + 10)
    bought = log.of_types(PURCHASE)
    sold = bought & (days <= 28)
    paid, pieces = (np.bincount(item[sold], np.nan_to_num(numbers[sold]), n) for numbers in (log.amount, log.value))
    paid = paid.astype(np.float64)  # of no event: integers
    paid[np.bincount(item[bought & ~np.isnan(log.amount)], minlength=n) == 0] = np.nan
    with np.errstate(invalid="ignore", divide="ignore"):
        columns["mean_price_28d"] = np.where(pieces > 0, paid / pieces, np.nan)
        columns["repeat_rate"] = _users_of(visited[returns], n) / takers
        columns["gap_days"] = np.bincount(visited[returns] % n, gap, n) / np.bincount(visited[returns] % n, minlength=n)

    for name, reduce, start in (("first_event_at", np.maximum, -np.inf), ("last_event_at", np.minimum, np.inf)):
        columns[name] = np.full(n, start)
        reduce.at(columns[name], item, days)
    known = log.item_counts > 0
    numbers = {name: np.where(known, values, np.nan).astype(np.float32) for name, values in columns.items()}
    return ItemState(at, numbers | dict(facts), eligible)


def _users_of(pair: Integers, n_items: int) -> Integers:
    """How many different users each item has among (user, item) pairs [items]."""
    return np.bincount(np.unique(pair) % n_items, minlength=n_items)

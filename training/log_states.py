"""Users' and items' states read off a log, at its end: the columns of the marts for any log, however it was split.

The platform reads states from Feast at the moments of a run. A protocol asks at other moments, of each user at another
one, or of a log without some items; a test holds the two readings against each other.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from training.protocols import Split
from zhiyin.recommender.state.catalogue import SECONDS_PER_DAY, Catalogue, Floats, Integers, ItemState, listed, words_of
from zhiyin.recommender.state.history import History
from zhiyin.recommender.state.users import Affinity, Repeats, Sequence, Users

SHORT, LONG, AFFINITY = 14.0, 90.0, 60.0  # half-lives in days, as in dbt_project/models/marts
LENGTH = 256  # events of a sequence, the latest
WINDOWS = (7, 28, 90)


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
    item, moment, value, kind = log.item[rows], log.at[rows], log.value[rows], log.type[rows]
    days = (at[owner] - moment) / SECONDS_PER_DAY
    # The log has baskets together and oldest first.
    opens = np.r_[True, (log.basket[rows][1:] != log.basket[rows][:-1]) | (owner[1:] != owner[:-1])][: len(rows)]
    basket = np.cumsum(opens) - 1
    return Users(
        [log.user_ids[index] for index in user],
        at,
        np.ones(len(user), bool),
        _user_columns(owner, item, days, opens, len(user)),
        _repeats(owner, item, basket, value, days, log.n_items),
        _sequence(owner, item, moment, kind, value, basket, counts, length),
        _affinity(owner, item, days, catalogue),
    )


def _user_columns(
    owner: Integers, item: Integers, days: Floats, opens: npt.NDArray[np.bool_], n: int
) -> dict[str, Floats]:
    columns: dict[str, npt.NDArray[Any]] = {}
    for window in WINDOWS:
        inside = days <= window
        columns[f"events_{window}d"] = np.bincount(owner[inside], minlength=n)
        columns[f"baskets_{window}d"] = np.bincount(owner[inside & opens], minlength=n)
    pairs = np.unique(owner[days <= 28] * (int(item.max(initial=0)) + 1) + item[days <= 28])
    columns["distinct_items_28d"] = np.bincount(pairs // (int(item.max(initial=0)) + 1), minlength=n)
    with np.errstate(invalid="ignore", divide="ignore"):
        columns["mean_basket_size_90d"] = columns["events_90d"] / columns["baskets_90d"]
    latest = np.full(n, np.inf)
    np.minimum.at(latest, owner, days)
    columns["last_event_at"] = np.where(np.isinf(latest), np.nan, latest)
    return {name: values.astype(np.float32) for name, values in columns.items()}


def _repeats(
    owner: Integers, item: Integers, basket: Integers, value: Floats, days: npt.NDArray[np.float64], n_items: int
) -> Repeats:
    breadth = int(basket.max(initial=0)) + 1
    pair, place = np.unique(owner * n_items + item, return_inverse=True)
    quantity = np.bincount(place, np.nan_to_num(value), len(pair))
    held, one = np.unique(place * breadth + basket, return_index=True)  # an item counts once a basket
    entry, age = held // breadth, days[one]
    baskets = np.bincount(entry, minlength=len(pair))
    oldest, newest = np.zeros(len(pair)), np.full(len(pair), np.inf)
    np.maximum.at(oldest, entry, age)
    np.minimum.at(newest, entry, age)
    short, long = (np.bincount(entry, 0.5 ** (age / half_life), len(pair)) for half_life in (SHORT, LONG))
    gap = np.where(baskets > 1, (oldest - newest) / np.maximum(baskets - 1, 1), np.nan)
    gap = np.where(gap > 0, gap, np.nan)
    numbers = (values.astype(np.float32) for values in (baskets, quantity, oldest, newest, short, long, gap))
    return Repeats(pair // n_items, pair % n_items, *numbers)


def _sequence(
    owner: Integers,
    item: Integers,
    moment: npt.NDArray[np.float64],
    kind: Integers,
    value: Floats,
    basket: Integers,
    counts: Integers,
    length: int,
) -> Sequence:
    kept = np.arange(len(owner)) >= (np.cumsum(counts) - np.minimum(counts, length))[owner]
    owner, basket = owner[kept], basket[kept]
    first = np.full(len(counts), np.iinfo(np.int64).max)
    np.minimum.at(first, owner, basket)
    return Sequence(owner, item[kept], moment[kept], kind[kept], value[kept], basket - first[owner])


def _affinity(owner: Integers, item: Integers, days: npt.NDArray[np.float64], catalogue: Catalogue) -> Affinity:
    breadth = len(catalogue.categories) + 1
    category = catalogue.category[item]
    keys, place = np.unique((owner * breadth + category)[category >= 0], return_inverse=True)
    weight = np.bincount(place, (0.5 ** (np.ceil(days) / AFFINITY))[category >= 0], len(keys))
    user = keys // breadth
    return Affinity(user, keys % breadth, (weight / np.bincount(user, weight)[user]).astype(np.float32))


def read_items(log: History, at: float, eligible: npt.NDArray[np.bool_], facts: Mapping[str, Floats]) -> ItemState:
    """States of all items of a log at a moment; ``facts``: columns that a log does not tell, float32 [items]."""
    n, days = log.n_items, (at - log.at) / SECONDS_PER_DAY
    columns: dict[str, npt.NDArray[Any]] = {}
    for window in WINDOWS:
        columns[f"events_{window}d"] = np.bincount(log.item[days <= window], minlength=n)
    columns["events"] = np.bincount(log.item, minlength=n)
    for name, inside in (("users_28d", days <= 28), ("users_90d", days <= 90), ("users", days < np.inf)):
        pairs = np.unique((log.user * n + log.item)[inside])
        columns[name] = np.bincount(pairs % n, minlength=n)
    day = (log.at // SECONDS_PER_DAY).astype(np.int64)
    visits = np.unique((log.user * n + log.item) * 100_000 + day) // 100_000
    pairs, times = np.unique(visits, return_counts=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        columns["repeat_rate"] = np.bincount(pairs % n, times > 1, n) / columns["users"]
    # Habits that an item makes: who had it before the last 14 days and took it in them; usual days between two baskets.
    before, lately = (np.unique((log.user * n + log.item)[inside]) for inside in (days > 14, days <= 14))
    had = np.bincount(before % n, minlength=n)
    columns["rebuy_rate_14d"] = (np.bincount(np.intersect1d(before, lately) % n, minlength=n) + 0.5) / (had + 10)
    pairs, place = np.unique(log.user * n + log.item, return_inverse=True)
    oldest, newest = np.zeros(len(pairs)), np.full(len(pairs), np.inf)
    np.maximum.at(oldest, place, days)
    np.minimum.at(newest, place, days)
    many = times > 1
    with np.errstate(invalid="ignore", divide="ignore"):
        span = np.bincount((pairs % n)[many], (oldest - newest)[many], n)
        columns["gap_days"] = span / np.bincount((pairs % n)[many], (times - 1)[many], n)
    for name, reduce, start in (("first_event_at", np.maximum, -np.inf), ("last_event_at", np.minimum, np.inf)):
        age = np.full(n, start)
        reduce.at(age, log.item, days)
        columns[name] = np.where(np.isinf(age), np.nan, age)
    numbers = {name: values.astype(np.float32) for name, values in columns.items()}
    return ItemState(at, numbers | dict(facts), eligible)

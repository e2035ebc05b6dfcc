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
from zhiyin.recommender.state.history import History, taken_codes
from zhiyin.recommender.state.users import Affinity, Repeats, Sequence, Users

SHORT, LONG, AFFINITY = 14.0, 90.0, 60.0  # half-lives in days, as in dbt_project/models/marts
LENGTH = 256  # events of a sequence, the latest
MOST_ITEMS, MOST_GROUPS = 2_000, 50  # of a user's habits and affinities: the latest, and the strongest
WINDOWS = (7, 28, 90)

Weights = npt.NDArray[np.float64]

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
    item, moment, value, kind = log.item[rows], log.at[rows], log.value[rows], log.type[rows]
    days = (at[owner] - moment) / SECONDS_PER_DAY
    taken, bought = log.taken[rows], log.of_types(PURCHASE)[rows]
    paid = np.where(bought, np.nan_to_num(log.amount[rows]), 0.0)
    pieces = np.where(bought, value, 0.0) if log.of_types(PURCHASE).any() else value
    # The log has baskets together and oldest first.
    opens = np.r_[True, (log.basket[rows][1:] != log.basket[rows][:-1]) | (owner[1:] != owner[:-1])][: len(rows)]
    basket = np.cumsum(opens) - 1
    begins = np.zeros(len(rows), bool)  # a basket of what is taken
    begins[np.flatnonzero(taken)[np.unique(basket[taken], return_index=True)[1]]] = True
    categories, labels = _affinities(owner, item, days, catalogue)
    return Users(
        [log.user_ids[index] for index in user],
        at,
        np.ones(len(user), bool),
        _user_columns(owner, item, days, paid, bought, taken, begins, len(user)),
        _repeats(
            owner[taken], item[taken], basket[taken], pieces[taken], days[taken], log.grade[rows][taken], log.n_items
        ),
        _sequence(owner, item, moment, kind, value, basket, counts, length),
        categories,
        label_affinity=labels,
        scale=log.scale,
        taken_types=taken_codes(log.event_types),
    )


def _user_columns(
    owner: Integers,
    item: Integers,
    days: npt.NDArray[np.float64],
    paid: Floats,
    bought: npt.NDArray[np.bool_],
    taken: npt.NDArray[np.bool_],
    begins: npt.NDArray[np.bool_],
    n: int,
) -> dict[str, Floats]:
    columns: dict[str, npt.NDArray[Any]] = {}
    for window in WINDOWS:
        inside = days <= window
        columns[f"events_{window}d"] = np.bincount(owner[inside], minlength=n)
        columns[f"baskets_{window}d"] = np.bincount(owner[inside & begins], minlength=n)
    columns["purchases_28d"] = np.bincount(owner[bought & (days <= 28)], minlength=n)
    columns["amount_28d"] = np.bincount(owner[days <= 28], paid[days <= 28], n)
    pairs = np.unique(owner[days <= 28] * (int(item.max(initial=0)) + 1) + item[days <= 28])
    columns["distinct_items_28d"] = np.bincount(pairs // (int(item.max(initial=0)) + 1), minlength=n)
    with np.errstate(invalid="ignore", divide="ignore"):
        columns["mean_basket_size_90d"] = np.bincount(owner[taken & (days <= 90)], minlength=n) / columns["baskets_90d"]
    latest = np.full(n, np.inf)
    np.minimum.at(latest, owner, days)
    columns["last_event_at"] = np.where(np.isinf(latest), np.nan, latest)
    return {name: values.astype(np.float32) for name, values in columns.items()}


def _repeats(
    owner: Integers,
    item: Integers,
    basket: Integers,
    value: Floats,
    days: npt.NDArray[np.float64],
    grade: Floats,
    n_items: int,
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
    user, item = pair // n_items, pair % n_items
    given = np.flatnonzero(np.isfinite(grade))  # the log is oldest first, so that the latest grade stays
    latest = np.full(len(pair), np.nan)
    latest[place[given]] = grade[given]
    kept = _first_of_each(user, np.lexsort((item, newest, user)), MOST_ITEMS)
    columns = (baskets, quantity, oldest, newest, short, long, gap, latest)
    numbers = (values[kept].astype(np.float32) for values in columns)
    return Repeats(user[kept], item[kept], *numbers)


def _first_of_each(owner: Integers, order: Integers, most: int) -> npt.NDArray[np.bool_]:
    """The first ``most`` entries of each owner in an ``order`` that has owners ascending; bool [entries]."""
    kept = np.zeros(len(owner), bool)
    place = np.arange(len(owner)) - np.searchsorted(owner[order], owner[order])
    kept[order[place < most]] = True
    return kept


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


def _affinities(
    owner: Integers, item: Integers, days: npt.NDArray[np.float64], catalogue: Catalogue
) -> tuple[Affinity, Affinity]:
    """To categories, whose shares add up to 1, and to labels, whose shares are of the weight of labelled events."""
    ago = np.ceil(days).astype(np.int64)
    category, labelled = catalogue.category[item], np.diff(catalogue.labels.indptr)[item] > 0
    latest = np.full(int(owner.max(initial=-1)) + 1, np.iinfo(np.int64).max)
    of_any = (category >= 0) | labelled
    np.minimum.at(latest, owner[of_any], ago[of_any])
    since = ago - latest[owner]
    placed = category >= 0
    categories = _weights(owner[placed], category[placed], since[placed])
    event, label = catalogue.labels_of(item)
    labels = _weights(owner[event], label, since[event])
    of_labelled = _weights(owner[labelled], np.zeros(labelled.sum(), np.int64), since[labelled])
    return _strongest(*categories, categories), _strongest(*labels, of_labelled)


def _strongest(owner: Integers, code: Integers, weight: Weights, whole: tuple[Integers, Integers, Weights]) -> Affinity:
    """Each owner's codes by weight, as shares of what the ``whole`` weighs."""
    share = (weight / np.bincount(whole[0], whole[2])[owner]).astype(np.float32)
    kept = _first_of_each(owner, np.lexsort((code, -weight, owner)), MOST_GROUPS)
    return Affinity(owner[kept], code[kept], share[kept])


def _weights(owner: Integers, code: Integers, since: Integers) -> tuple[Integers, Integers, Weights]:
    """Owner, code and weight of each different pair; ``since``: days from an event to the owner's latest."""
    breadth = int(code.max(initial=0)) + 1
    day, events = np.unique((owner * breadth + code) * 100_000 + since, return_counts=True)
    # Whole numbers of 1e-12, as in the mart, so that equal weights are equal and the name decides.
    weights = np.rint(events * 0.5 ** (day % 100_000 / AFFINITY) * 1e12)
    keys, place = np.unique(day // 100_000, return_inverse=True)
    return keys // breadth, keys % breadth, np.bincount(place, weights, len(keys)).astype(np.float64)


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

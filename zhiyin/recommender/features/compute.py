"""Computes the ranker's features of a user and a candidate: scores, habits, due times, and the state of both."""

from collections.abc import Sequence as Many
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from zhiyin.recommender.candidates.base import Generator, top_items
from zhiyin.recommender.state.catalogue import SECONDS_PER_DAY, Catalogue, Floats, Integers, ItemState
from zhiyin.recommender.state.users import Affinity, Sequence, Users

SCORES_AT_ONCE = 5_000_000  # of one generator, dense: 20 MB
PURCHASES = "purchases_28d"  # of a user; part of a ratio only: in a log of purchases it is events_28d

Pairs = tuple[Integers, Integers]  # rows of a batch of users, and items


def users_at_once(n_items: int) -> int:
    """How many users a batch may hold that is scored over so many items."""
    return min(max(SCORES_AT_ONCE // max(n_items, 1), 1), 256)


@dataclass(frozen=True)
class Candidates:
    """Proposed pairs, users in batch order and items ascending within a user, with one float32 column per feature."""

    user: Integers
    item: Integers
    columns: dict[str, Floats]

    def __len__(self) -> int:
        return len(self.user)


@dataclass(frozen=True)
class Scored:
    """Every generator's scores of a batch of users: by generator, float32 [users, pool], -inf for no candidate."""

    scores: dict[str, Floats]
    quotas: dict[str, int]
    new_quotas: dict[str, int]

    @classmethod
    def by(cls, generators: Many[Generator], users: Users, items: ItemState) -> "Scored":
        generators = [each for each in generators if users.session is not None or not each.of_sessions]
        scores = {generator.name: generator.score(users, items) for generator in generators}
        quotas = {generator.name: generator.quota for generator in generators}
        return cls(scores, quotas, {each.name: each.new_quota or each.quota for each in generators})

    def without(self, left_out: Pairs, items: ItemState) -> "Scored":
        """The same scores without some (user, item) pairs."""
        user, place = left_out[0], items.place[left_out[1]]
        user, place = user[place >= 0], place[place >= 0]
        if not len(user):
            return self
        scores = {name: dense.copy() for name, dense in self.scores.items()}
        for dense in scores.values():
            dense[user, place] = -np.inf
        return Scored(scores, self.quotas, self.new_quotas)


def propose(
    scored: Scored,
    users: Users,
    catalogue: Catalogue,
    items: ItemState,
    new_only: bool = False,
    exclude: Pairs | None = None,
    always: Integers | None = None,
) -> Candidates:
    """The union of every generator's best eligible items, with their features (NaN where unknown).

    ``new_only``: no item that the user already has. ``exclude``: (user, item) pairs that are no candidates. ``always``:
    items proposed to every user where they are eligible and not left out.
    """
    n_items, pool = len(catalogue), items.pool
    none = np.empty(0, np.int64)
    left = [(users.repeats.user, users.repeats.item)] if new_only else []
    left += [exclude] if exclude is not None else []
    left_out = tuple(np.concatenate([none, *(pair[side] for pair in left)]) for side in (0, 1))
    scores = scored.without((left_out[0], left_out[1]), items).scores if left else scored.scores
    quotas = scored.new_quotas if new_only else scored.quotas
    best = {name: top_items(dense, quotas[name]) for name, dense in scores.items()}
    rows = np.arange(len(users))[:, None]
    kept = {name: np.take_along_axis(scores[name], top, axis=1) > -np.inf for name, top in best.items()}
    found = {name: (rows * n_items + pool[top])[kept[name]] for name, top in best.items()}
    proposed = [none, *found.values()]
    if always is not None and len(always):
        proposed.append((rows * n_items + always[items.eligible[always]]).ravel())
    pairs = np.unique(np.concatenate(proposed))
    if always is not None and len(left_out[0]):
        pairs = np.setdiff1d(pairs, left_out[0] * n_items + left_out[1], assume_unique=False)
    user, item = pairs // n_items, pairs % n_items
    columns: dict[str, Floats] = {}
    for name, top in best.items():
        score = scores[name][user, items.place[item]]
        columns[f"{name}_score"] = np.where(score > -np.inf, score, np.nan).astype(np.float32)
        rank = np.full(len(pairs), np.nan, np.float32)
        places = np.broadcast_to(np.arange(1, top.shape[1] + 1), top.shape)[kept[name]]
        rank[np.searchsorted(pairs, found[name])] = places
        columns[f"{name}_rank"] = rank
    columns |= _habits(users, user, item, n_items)
    columns |= _rhythm(users, user, item, np.arange(n_items), n_items, "item")
    for level, codes in (("kind", catalogue.kind), ("category", catalogue.category)):
        columns |= _rhythm(users, user, item, codes, int(codes.max(initial=0)) + 1, level)
        columns |= _group_habits(users, user, item, codes, int(codes.max(initial=0)) + 1, level)
    columns["category_affinity"] = _affinity(users.affinity, len(catalogue.categories), user, catalogue.category[item])
    if catalogue.label_names:
        columns |= _label_affinity(users, user, item, catalogue)
    columns |= _states(users, user, item, items, columns["days_since_last"])
    return Candidates(user, item, columns)


def _find(keys: Integers, wanted: Integers) -> tuple[Integers, npt.NDArray[np.bool_]]:
    """Where each wanted key stands among unique ascending ``keys``, and whether it is there."""
    if not len(keys):
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), bool)
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return places, keys[places] == wanted


def _lookup(keys: Integers, values: npt.NDArray[Any], wanted: Integers, absent: float = np.nan) -> Floats:
    places, found = _find(keys, wanted)
    if not len(keys):
        return np.full(len(wanted), absent, np.float32)
    return np.where(found, values[places], absent).astype(np.float32)


def _ratio(numerator: npt.NDArray[np.floating], denominator: npt.NDArray[np.floating]) -> Floats:
    """Quotient, NaN where the denominator is not positive."""
    safe = np.where(denominator > 0, denominator, np.nan)
    return (numerator / safe).astype(np.float32)


def _per_user(reduce: np.ufunc, users: Users, values: Floats) -> Floats:
    total = np.zeros(len(users), np.float32)
    reduce.at(total, users.repeats.user, values)
    return total


def _habits(users: Users, user: Integers, item: Integers, n_items: int) -> dict[str, Floats]:
    """The user's habit with this item, over the whole history."""
    repeats = users.repeats
    keys = repeats.user * n_items + repeats.item
    order = np.argsort(keys)
    keys, wanted = keys[order], user * n_items + item

    def take(values: Floats, absent: float = np.nan) -> Floats:
        return _lookup(keys, values[order], wanted, absent)

    baskets, last, first, gap = (
        take(values) for values in (repeats.baskets, repeats.last_days, repeats.first_days, repeats.gap_days)
    )
    long, short = take(repeats.long, 0.0), take(repeats.short, 0.0)
    return {
        "baskets": np.nan_to_num(baskets),
        "quantity_a_basket": _ratio(take(repeats.quantity), baskets),
        "days_since_last": last,
        "days_since_first": first,
        "mean_gap_days": gap,
        "due": _ratio(last, gap),
        "baskets_a_day": _ratio(baskets, first),
        "long_short_trend": _ratio(short, long),
        "long_of_best": _ratio(long, _per_user(np.maximum, users, repeats.long)[user]),
        "short_of_best": _ratio(short, _per_user(np.maximum, users, repeats.short)[user]),
        "long": long,
        "short": short,
    }


def _rhythm(
    users: Users, user: Integers, item: Integers, codes: Integers, n_codes: int, level: str
) -> dict[str, Floats]:
    """When the user's latest baskets had this item (or one of its kind or category), and whether it is due again.

    A basket holds what the user took: a view is no basket where the log has purchases.
    """
    sequence = _taken(users)
    code = codes[sequence.item]
    known = code >= 0
    # One entry per user, code and basket.
    breadth = int(sequence.basket.max(initial=0)) + 1
    keys, first = np.unique(((sequence.user * n_codes + code) * breadth + sequence.basket)[known], return_index=True)
    at = sequence.at[known][first]
    group, basket = keys // breadth, keys % breadth
    groups, begin, count = np.unique(group, return_index=True, return_counts=True)
    owner = groups // n_codes
    newest = np.full(len(users), -1)
    np.maximum.at(newest, sequence.user, sequence.basket)
    wanted = np.where(codes[item] >= 0, user * n_codes + codes[item], -1)
    end = begin + count - 1
    last = (users.at[owner] - at[end]) / SECONDS_PER_DAY if len(groups) else np.empty(0)
    span = (at[end] - at[begin]) / SECONDS_PER_DAY if len(groups) else np.empty(0)
    gap = _ratio(span, count - 1.0)
    # Spread of the gaps: how regular the habit is.
    steps = np.diff(at, prepend=at[:1]) / SECONDS_PER_DAY
    steps[begin] = 0.0
    square = np.add.reduceat(steps**2, begin) if len(groups) else np.empty(0)
    spread = np.sqrt(np.maximum(_ratio(square, count - 1.0) - gap**2, 0.0))
    since = newest[owner] - basket[end] if len(groups) else np.empty(0)
    return {
        f"{level}_recent_baskets": _lookup(groups, count, wanted, 0.0),
        f"{level}_recent_share": _lookup(groups, count / (newest[owner] + 1.0), wanted, 0.0),
        f"{level}_baskets_since": _lookup(groups, since, wanted),
        f"{level}_recent_gap_days": _lookup(groups, gap, wanted),
        f"{level}_recent_gap_spread": _lookup(groups, spread, wanted),
        f"{level}_recent_due": _lookup(groups, _ratio(last, gap), wanted),
        f"{level}_last_gap_days": _lookup(groups, np.where(count > 1, steps[end], np.nan), wanted),
    }


def _taken(users: Users) -> Sequence:
    """The events of the sequence by which the user took an item, their baskets numbered from 0 for each user."""
    sequence = users.sequence
    taken = np.isin(sequence.type, users.taken_types)
    if not users.taken_types or taken.all():
        return sequence
    columns = {each.name: getattr(sequence, each.name)[taken] for each in fields(sequence)}
    width = int(sequence.basket.max(initial=0)) + 1
    baskets = columns["user"] * width + columns["basket"]
    known = np.unique(baskets)
    columns["basket"] = np.searchsorted(known, baskets) - np.searchsorted(known, columns["user"] * width)
    return Sequence(**columns)


def _group_habits(
    users: Users, user: Integers, item: Integers, codes: Integers, n_codes: int, level: str
) -> dict[str, Floats]:
    """The user's habit with items of this kind or category, and the strongest item among them."""
    repeats = users.repeats
    code = codes[repeats.item]
    keys = np.where(code >= 0, repeats.user * n_codes + code, -2)  # -1 is never among the keys: unknown finds nothing
    groups, inverse = np.unique(keys, return_inverse=True)
    wanted = np.where(codes[item] >= 0, user * n_codes + codes[item], -1)
    n = len(groups)
    long = np.bincount(inverse, repeats.long, n)
    last = np.full(n, np.inf)
    np.minimum.at(last, inverse, repeats.last_days)
    best = np.zeros(n)
    np.maximum.at(best, inverse, repeats.long)
    return {
        f"{level}_long": _lookup(groups, long, wanted, 0.0),
        f"{level}_short": _lookup(groups, np.bincount(inverse, repeats.short, n), wanted, 0.0),
        f"{level}_items": _lookup(groups, np.bincount(inverse, minlength=n).astype(np.float64), wanted, 0.0),
        f"{level}_days_since_last": _lookup(groups, last, wanted),
        f"{level}_best_long": _lookup(groups, best, wanted, 0.0),
    }


def _affinity(affinity: Affinity, n_codes: int, user: Integers, code: Integers) -> Floats:
    """The user's share of each code, 0 where there is none."""
    keys = affinity.user * (n_codes + 1) + affinity.code
    order = np.argsort(keys)
    return _lookup(keys[order], affinity.share[order], user * (n_codes + 1) + code, 0.0)


def _label_affinity(users: Users, user: Integers, item: Integers, catalogue: Catalogue) -> dict[str, Floats]:
    """The user's shares of the item's labels, the largest and the mean; NaN for an item without labels."""
    pair, code = catalogue.labels_of(item)
    share = _affinity(users.label_affinity, len(catalogue.label_names), user[pair], code)
    best = np.full(len(item), np.nan, np.float32)
    np.fmax.at(best, pair, share)
    count = np.bincount(pair, minlength=len(item)).astype(np.float64)
    total = np.bincount(pair, share, len(item)).astype(np.float64)
    return {"label_affinity": best, "label_mean_affinity": _ratio(total, count)}


def _states(users: Users, user: Integers, item: Integers, items: ItemState, last_days: Floats) -> dict[str, Floats]:
    """Every number of the user's and the item's state, and ratios of both."""
    columns = {f"user_{name}": values[user] for name, values in users.columns.items() if name != PURCHASES}
    columns |= {f"item_{name}": values[item] for name, values in items.columns.items()}
    week, month, quarter = (items.column(f"events_{days}d")[item] for days in (7, 28, 90))
    columns["item_trend_week"] = _ratio(4 * week, month)
    columns["item_trend_month"] = _ratio(quarter.dtype.type(90 / 28) * month, quarter)
    if "gap_days" in items.columns:
        columns["due_for_all"] = _ratio(last_days, items.columns["gap_days"][item])
    if {"amount_28d", "events_28d"} <= users.columns.keys() and "mean_price_28d" in items.columns:
        usual = _ratio(users.columns["amount_28d"], users.columns.get(PURCHASES, users.columns["events_28d"]))
        columns["price_to_usual"] = _ratio(items.columns["mean_price_28d"][item], usual[user])
    return columns

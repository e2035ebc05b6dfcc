"""Moments inside a basket, as requests come: what the ranker of sessions learns on, and what a benchmark replays.

Of each user some baskets of a window: half of its items are in the session, and the other half is what is to be found.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from training.protocols import Split
from training.ranking.ranking_set import RankingSet
from training.splits import States
from zhiyin.recommender.candidates import Context, Generator
from zhiyin.recommender.features import Scored, propose, users_at_once
from zhiyin.recommender.ranker import matrix
from zhiyin.recommender.recipe import Recipe
from zhiyin.recommender.state.catalogue import Catalogue, Integers, ItemState
from zhiyin.recommender.state.follow import Events
from zhiyin.recommender.state.history import History
from zhiyin.recommender.state.session import after_events
from zhiyin.recommender.state.users import Users

LEAST = 4  # items of a basket that is replayed
EACH = 2  # baskets of a user in a label window
MOST_USERS = 500  # of a label window, a random sample
NEW = 5  # at every so many moments nothing is known of the user but what happened since the window began

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Moments:
    """``user``: indices of the log [moments], ascending; ``at``: epoch seconds, those of the basket.

    What had happened by then since the window began, and what was taken in the rest of the basket, as pairs of a place
    among the moments and a row of the log.
    """

    user: Integers
    at: npt.NDArray[np.float64]
    known: tuple[Integers, Integers]
    rest: tuple[Integers, Integers]

    def __len__(self) -> int:
        return len(self.user)

    def events(self, log: History) -> Events:
        """What had happened; its users are places among the moments."""
        place, row = self.known
        return Events.of(log, row, place)

    def answer(self, log: History) -> Integers:
        """The rest of each basket: place * items + item, ascending."""
        place, row = self.rest
        return np.unique(place * log.n_items + log.item[row])


def moments_inside(
    log: History, since: float, until: float, seed: int, each: int = 1, users: Mask | None = None, most: int = 10**9
) -> Moments:
    """Moments in the midst of baskets of ``LEAST`` items or more, taken from ``since`` on and before ``until``.

    Of each user the first ``each`` such baskets; ``users`` [users of the log]: the only ones that take part; ``most``:
    a random sample of no more users. Which items of a basket come first is drawn.
    """
    random = np.random.default_rng(seed)
    change = (log.basket[1:] != log.basket[:-1]) | (log.user[1:] != log.user[:-1])
    begin = np.flatnonzero(np.r_[True, change][: len(log)])
    end = np.r_[begin[1:], len(log)]
    fresh = np.r_[True, change | (log.item[1:] != log.item[:-1])][: len(log)] & log.taken  # a basket's items ascend
    items = np.add.reduceat(fresh.astype(np.int64), begin) if len(begin) else begin
    owner, at = log.user[begin], log.at[begin]
    usable = (at >= since) & (at < until) & (items >= LEAST)
    if users is not None:
        usable &= users[owner]
    drawn = random.permutation(np.unique(owner[usable]))[:most]
    chosen = np.flatnonzero(usable & np.isin(owner, drawn))
    chosen = chosen[np.arange(len(chosen)) - np.searchsorted(owner[chosen], owner[chosen]) < each]
    owner, at, items = owner[chosen], at[chosen], items[chosen]
    begin, end = begin[chosen], end[chosen]
    early = np.searchsorted(log.user, owner) + _before(log, owner, since)
    place, row = _slices(begin, end)
    number = np.maximum(np.cumsum(fresh[row]), 1) - 1  # of each different item of these baskets
    order = random.random(int(fresh[row].sum()) + 1)
    basket_of = place[fresh[row]]
    rank = np.empty(len(basket_of), np.int64)
    sorted_ = np.lexsort((order[: len(basket_of)], basket_of))
    rank[sorted_] = np.arange(len(basket_of)) - np.searchsorted(basket_of, basket_of[sorted_])
    first = (rank < items[basket_of] // 2)[number] if len(rank) else np.zeros(len(row), bool)
    past = _slices(early, begin)
    known = np.r_[past[0], place[first]], np.r_[past[1], row[first]]
    rest = ~first & log.taken[row]
    return Moments(owner, at, known, (place[rest], row[rest]))


def _before(log: History, owner: Integers, since: float) -> Integers:
    """How many of each user's events are before a moment."""
    return np.bincount(log.user, log.at < since, log.n_users).astype(np.int64)[owner]


def _slices(begin: Integers, end: Integers) -> tuple[Integers, Integers]:
    """Place and row of each row of some slices."""
    count = end - begin
    place = np.repeat(np.arange(len(begin)), count)
    return place, np.arange(len(place)) - np.repeat(np.cumsum(count) - count, count) + begin[place]


def session_set(
    recipe: Recipe,
    log: History,
    split: Split,
    end: datetime | None,
    generators: Sequence[Generator],
    states: States,
    items: ItemState,
    context: Context,
) -> RankingSet | None:
    """Rows of candidates at moments inside baskets, of users of a split after its log ends; None where there is none.

    ``end``: where the next split begins, whose moments are others; None: with the log. What was taken in the rest of
    the basket is the answer, and the users' states are those of the split, with what happened since.
    """
    until = log.cut if end is None else end.timestamp()
    mine = np.zeros(log.n_users, bool)
    mine[split.user] = True
    moments = moments_inside(log, split.log.cut, until, context.seed, EACH, mine, MOST_USERS)
    if not len(moments):
        return None
    chosen = np.isin(split.user, moments.user)
    place = np.searchsorted(split.user[chosen], moments.user)
    before = states.users(split.only(chosen), 0, int(chosen.sum())).take(place)
    new = np.arange(len(moments)) % NEW == 0
    before = before.without_state(new)
    return session_rows(log, moments, before, generators, items, context.catalogue, recipe.negatives, context.seed)


def session_rows(
    log: History,
    moments: Moments,
    users: Users,
    generators: Sequence[Generator],
    items: ItemState,
    catalogue: Catalogue,
    negatives: float,
    seed: int,
) -> RankingSet | None:
    """The ranker's rows at moments inside baskets; ``users``: their states when the window began, in their order."""
    random = np.random.default_rng(seed)
    live = after_events(users, moments.events(log), moments.at, catalogue, log.event_types)
    taken = moments.answer(log)
    blocks: list[tuple[npt.NDArray[Any], ...]] = []
    names: list[str] = []
    size = users_at_once(len(items.pool))
    for start in range(0, len(users), size):
        batch = live.rows(start, start + size)
        candidates = propose(Scored.by(generators, batch, items), batch, catalogue, items)
        label = np.isin((candidates.user + start) * len(catalogue) + candidates.item, taken)
        told = np.bincount(candidates.user, label, len(batch)) > 0
        kept = told[candidates.user] & (label | (random.random(len(label)) < negatives))
        names = names or sorted(candidates.columns)
        features = matrix(candidates, names, np.flatnonzero(kept))
        blocks.append((features, label[kept].astype(np.int8), np.bincount(candidates.user[kept])))
    if not blocks:
        return None
    features, labels, group = (np.concatenate([block[part] for block in blocks]) for part in range(3))
    return RankingSet(names, features, labels, group[group > 0])

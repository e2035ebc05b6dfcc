"""Protocols: how a log is split into training data, users to make lists for, and the items that they then took.

A protocol holds out the end of a log, so it can be applied to what it left: that gives the validation window, and
applied again the windows on which a ranker is trained. So no setting is chosen on the test window.
"""

import zlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from zhiyin.contract import MIN_ITEM_INTERACTIONS, taken_types
from zhiyin.recommender.state.catalogue import SECONDS_PER_DAY, Catalogue, Integers
from zhiyin.recommender.state.history import History

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Split:
    """One split of a protocol.

    ``log``: all that a model may know. ``user`` [users]: who gets a list, indices of ``log.user_ids``, ascending;
    ``at`` [users]: at which moment, in epoch seconds. ``true_user`` (a place in ``user``) and ``true_item``: the
    distinct pairs of the answer, ascending. ``candidates``: bool [items]. ``repeats``: whether a list may hold what its
    user already has.
    """

    log: History
    user: Integers
    at: npt.NDArray[np.float64]
    true_user: Integers
    true_item: Integers
    candidates: Mask
    repeats: bool

    def __len__(self) -> int:
        return len(self.user)

    @property
    def user_ids(self) -> list[str]:
        return [self.log.user_ids[user] for user in self.user]

    def drawn(self, n: int) -> Mask:
        """Which of the users [users] are the ``n`` that a hash of the id draws, the same in every run."""
        chosen = np.zeros(len(self), bool)
        chosen[np.argsort([zlib.crc32(user.encode()) for user in self.user_ids], kind="stable")[:n]] = True
        return chosen

    def only(self, chosen: Mask) -> "Split":
        """The same split for some of its users: ``chosen`` [users]."""
        place, kept = np.cumsum(chosen) - 1, chosen[self.true_user]
        return replace(
            self,
            user=self.user[chosen],
            at=self.at[chosen],
            true_user=place[self.true_user[kept]],
            true_item=self.true_item[kept],
        )

    def discoveries(self) -> "Split":
        """The same split, with only the items that its users did not have before as answer."""
        n = self.log.n_items
        pairs = self.user[self.true_user] * n + self.true_item
        new = ~np.isin(pairs, (self.log.user * n + self.log.item)[self.log.taken])
        split = replace(self, true_user=self.true_user[new], true_item=self.true_item[new], repeats=False)
        return split.only(split.relevant > 0)

    def holds(self, place: Integers, item: Integers) -> Mask:
        """Whether each (place of a user in the split, item) pair is in the answer."""
        n = self.log.n_items
        return np.isin(place * n + item, self.true_user * n + self.true_item)

    @property
    def relevant(self) -> Integers:
        """How many items each user's answer holds [users]."""
        return np.bincount(self.true_user, minlength=len(self))


class Protocol(ABC):
    """How a log is split; ``repeats`` as in ``Split``."""

    name: ClassVar[str]
    repeats: bool = False

    def end(self, as_of: datetime) -> datetime:
        """Events before this moment take part, in the log or in the answer."""
        return as_of

    @abstractmethod
    def split(self, log: History, catalogue: Catalogue) -> Split:
        """Hold out the end of a log.

        Raises:
            ValueError: nothing is left to answer, or to learn from.
        """

    def validation(self, log: History, catalogue: Catalogue) -> Split:
        """The split on which settings are chosen: as ``split``, within the log that ``split`` leaves."""
        return self.within.split(self.split(log, catalogue).log, catalogue)

    @property
    def within(self) -> "Protocol":
        """The protocol as it is applied again within the log that a split leaves."""
        return self


@dataclass(frozen=True)
class NextDays(Protocol):
    """What users take in the ``days`` from ``cut`` on, of the items with at least ``least`` events before it.

    ``repeats`` (`all`) or only what they did not have before (`new`), which their lists then leave out.
    """

    cut: datetime
    days: int = 14
    repeats: bool = True
    least: int = MIN_ITEM_INTERACTIONS
    name = "next_days"

    def end(self, as_of: datetime) -> datetime:
        end = self.cut + timedelta(days=self.days)
        if end > as_of:
            raise ValueError(
                f"the {self.days} days from {self.cut:%Y-%m-%d} end after {as_of:%Y-%m-%d}, the as_of of the published "
                f"marts; publish later ones, or choose a cut until {as_of - timedelta(days=self.days):%Y-%m-%d}"
            )
        return end

    def split(self, log: History, catalogue: Catalogue) -> Split:
        cut = datetime.fromtimestamp(log.cut - self.days * SECONDS_PER_DAY, UTC)
        before = log.before(cut)
        return window(log, before, cut, self.days, before.item_counts >= self.least, self.repeats)


def window(
    log: History, before: History, cut: datetime, days: int, candidates: Mask, repeats: bool, everyone: bool = False
) -> Split:
    """What users take of the candidates in the ``days`` from ``cut`` on; ``before``: the log up to there.

    ``everyone``: with the users who then took nothing, of whom something was known before.
    """
    start, end = cut.timestamp(), cut.timestamp() + days * SECONDS_PER_DAY
    after = log.where((log.at >= start) & (log.at < end) & candidates[log.item])
    return _split(before, after, np.full(log.n_users, start), candidates, repeats, everyone)


@dataclass(frozen=True)
class LeaveOneOut(Protocol):
    """The last thing that each user took, where there was an event before; without ``repeats`` lists leave out what the
    user has. What came after it is in no log."""

    repeats: bool = False
    name = "leave_one_out"

    def split(self, log: History, catalogue: Catalogue) -> Split:
        place, end = np.arange(len(log)), np.full(log.n_users, -1)
        end[log.user[log.taken]] = place[log.taken]  # of several the last: the log is in the order of time
        end[end <= np.searchsorted(log.user, np.arange(log.n_users))] = -1  # nothing before it
        held, left = log.where(place == end[log.user]), log.where((place < end[log.user]) | (end[log.user] < 0))
        at = np.zeros(log.n_users)
        at[held.user] = held.at
        return _split(left, held, at, np.ones(log.n_items, bool), self.repeats)


@dataclass(frozen=True)
class ColdItems(Protocol):
    """A random ``share`` of the items never enters the log; lists rank these ``alone``, or all items.

    The answer: their events among the last ``late`` of all events. Items are drawn in the order of their ids, numbers
    as numbers.
    """

    share: float = 0.1
    late: float = 0.2
    seed: int = 0
    alone: bool = True
    of_present: bool = False  # draw from the items with an event: so that none is drawn again
    name = "cold_items"

    @property
    def within(self) -> Protocol:
        return replace(self, of_present=True)

    def split(self, log: History, catalogue: Catalogue) -> Split:
        present = np.flatnonzero((log.item_counts > 0) | (not self.of_present))
        names = [catalogue.item_ids[item] for item in present]
        order = np.argsort([int(name) for name in names] if all(map(str.isdigit, names)) else names)
        count = round(self.share * len(present))
        cold = np.zeros(log.n_items, bool)
        cold[np.random.default_rng(self.seed).choice(present[order], count, replace=False)] = True
        late = np.zeros(len(log), bool)
        late[np.argsort(log.at, kind="stable")[int((1 - self.late) * len(log)) :]] = True
        end = np.full(log.n_users, log.at.max(initial=0.0))
        candidates = cold if self.alone else np.ones(log.n_items, bool)
        return _split(log.where(~cold[log.item]), log.where(cold[log.item] & late), end, candidates, self.repeats)


@dataclass(frozen=True)
class ColdUsers(Protocol):
    """A random ``share`` of the users, of whom the log holds the first ``known`` baskets alone: none, or a session.

    The answer: what each takes in the ``days`` after; what they took in the session their lists leave out. The
    log of all other users is complete. Users are drawn from those with more baskets, in the order of their ids.
    """

    known: int = 0
    share: float = 0.1
    days: int = 14
    seed: int = 0
    name = "cold_users"

    def split(self, log: History, catalogue: Catalogue) -> Split:
        opens = np.r_[True, (log.basket[1:] != log.basket[:-1]) | (log.user[1:] != log.user[:-1])][: len(log)]
        nth = np.cumsum(opens)
        nth -= (nth - opens)[np.searchsorted(log.user, log.user)]  # from 1, within a user
        enough = np.unique(log.user[nth > self.known])
        enough = enough[np.argsort([log.user_ids[user] for user in enough])]
        cold = np.zeros(log.n_users, bool)
        cold[np.random.default_rng(self.seed).choice(enough, round(self.share * len(enough)), replace=False)] = True
        held = cold[log.user] & (nth > self.known)
        at = np.full(log.n_users, np.inf)
        np.minimum.at(at, log.user[held], log.at[held])
        answer = held & (log.at < at[log.user] + self.days * SECONDS_PER_DAY)
        left = log.where(~held)
        return _split(left, log.where(answer), at, np.ones(log.n_items, bool), self.repeats)


def _split(
    left: History,
    held: History,
    at: npt.NDArray[np.float64],
    candidates: Mask,
    repeats: bool,
    everyone: bool = False,
) -> Split:
    """The split whose answer is what users take of the candidates in ``held``: a view is no answer where they buy."""
    n = left.n_items
    taken = taken_types({*left.event_types, *held.event_types})
    pairs = np.unique((held.user * n + held.item)[candidates[held.item] & held.of_types(*taken)])
    if not repeats:
        pairs = np.setdiff1d(pairs, (left.user * n + left.item)[left.of_types(*taken)])
    if not len(pairs) or not len(left):
        raise ValueError("the protocol leaves nothing to answer or to learn from: too little data")
    user = np.unique(np.concatenate([pairs // n, left.user])) if everyone else np.unique(pairs // n)
    true_user = np.searchsorted(user, pairs // n)
    return Split(left, user, at[user], true_user, pairs % n, candidates, repeats)

"""Affinities after further events: shares of categories and labels in the decayed weight of a user's events."""

import numpy as np
import numpy.typing as npt

from zhiyin.recommender.state.catalogue import SECONDS_PER_DAY, Catalogue, Integers
from zhiyin.recommender.state.users import Affinity, Sequence, Users

HALF_LIFE = 60.0  # days, as in user_category_affinity
HABITS = 90.0  # of the repeats' slow decay
MOST_GROUPS = 50  # of a user, the strongest
UNIT = 1e12  # weights are whole numbers of 1e-12, as in the mart, so that of equal weights the name decides

Weights = npt.NDArray[np.float64]


def follow_affinities(users: Users, sequence: Sequence, old: int, catalogue: Catalogue) -> tuple[Affinity, Affinity]:
    """To categories, whose shares add up to 1, and to labels, whose shares are of the weight of labelled events.

    ``sequence``: the first ``old`` events are stored in the users' state, the others are new. The weight of all stored
    events is that of the stored sequence, and of what the habits tell of the events before it.
    """
    if old == len(sequence.user):
        return users.affinity, users.label_affinity
    n = len(users)
    day = np.floor(sequence.at / SECONDS_PER_DAY)
    placed = catalogue.category[sequence.item] >= 0
    labelled = np.diff(catalogue.labels.indptr)[sequence.item] > 0
    of_any, stored = placed | labelled, np.arange(len(day)) < old
    latest = np.full(n, -np.inf)
    np.maximum.at(latest, sequence.user[of_any], day[of_any])
    since = np.where(of_any, latest[sequence.user] - day, 0).astype(np.int64)
    weight = 0.5 ** (since / HALF_LIFE)
    reach = _reach(users)
    found = []
    for affinity, held in ((users.affinity, placed), (users.label_affinity, labelled)):
        total = reach * np.bincount(sequence.user[held & stored], weight[held & stored], n)
        fresh = np.flatnonzero(held & ~stored)
        if affinity is users.affinity:
            event, code = fresh, catalogue.category[sequence.item[fresh]]
        else:
            place, code = catalogue.labels_of(sequence.item[fresh])
            event = fresh[place]
        owner, code, values = _by_day(sequence.user[event], code, since[event])
        total_of = total[affinity.user]
        total = total + np.bincount(sequence.user[fresh], weight[fresh], n)
        owner, code = np.r_[affinity.user, owner], np.r_[affinity.code, code]
        found.append(_strongest(owner, code, np.r_[affinity.share * total_of, values], total))
    return found[0], found[1]


def _by_day(owner: Integers, code: Integers, since: Integers) -> tuple[Integers, Integers, Weights]:
    """Owner, code and weight of each different pair and day; ``since``: days to the owner's latest event."""
    breadth = int(code.max(initial=0)) + 1
    day, events = np.unique((owner * breadth + code) * 100_000 + since, return_counts=True)
    pair = day // 100_000
    return pair // breadth, pair % breadth, np.rint(events * 0.5 ** (day % 100_000 / HALF_LIFE) * UNIT) / UNIT


def _reach(users: Users) -> Weights:
    """The weight of all events of each user over that of the stored sequence, 1 where it holds them all [users].

    The habits hold all baskets, decayed by ``HABITS``; what they hold before the sequence's oldest event is taken to be
    spread evenly over the days before it.
    """
    n, sequence, repeats = len(users), users.sequence, users.repeats
    age = np.floor(users.at)[sequence.user] / SECONDS_PER_DAY - sequence.at / SECONDS_PER_DAY
    oldest = np.zeros(n)
    np.maximum.at(oldest, sequence.user, age)
    slow = np.bincount(sequence.user, 0.5 ** (age / HABITS), n)
    fast = np.bincount(sequence.user, 0.5 ** (age / HALF_LIFE), n)
    older = np.bincount(repeats.user, repeats.long, n) - slow
    older = np.where(older > 0.01 * slow, older, 0.0)
    tail = older * (HALF_LIFE / HABITS) * 0.5 ** (oldest * (1 / HALF_LIFE - 1 / HABITS))
    return np.asarray(np.divide(fast + tail, fast, out=np.ones(n), where=fast > 0))


def _strongest(owner: Integers, code: Integers, weight: Weights, total: Weights) -> Affinity:
    """Each owner's codes by weight, as shares of the ``total`` [users]."""
    breadth = int(code.max(initial=0)) + 1
    keys, place = np.unique(owner * breadth + code, return_inverse=True)
    owner, code = keys // breadth, keys % breadth
    weight = np.rint(np.bincount(place, weight, len(keys)) * UNIT) / UNIT
    kept = first_of_each(owner, np.lexsort((code, -weight, owner)), MOST_GROUPS)
    share = (weight / np.where(total > 0, total, 1)[owner]).astype(np.float32)
    return Affinity(owner[kept], code[kept], share[kept])


def first_of_each(owner: Integers, order: Integers, most: int) -> npt.NDArray[np.bool_]:
    """The first ``most`` entries of each owner in an ``order`` that has owners ascending; bool [entries]."""
    kept = np.zeros(len(owner), bool)
    place = np.arange(len(owner)) - np.searchsorted(owner[order], owner[order])
    kept[order[place < most]] = True
    return kept

"""The slate: from scored candidates to each user's list, under the slate rules."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zhiyin.recommender.features import Candidates
from zhiyin.recommender.slate.item_rules import ItemRules
from zhiyin.recommender.state.catalogue import Catalogue, Floats, Integers

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Picked:
    """Lists of a batch, users ascending and best first; one entry per place.

    ``position`` among the candidates, ``rank`` from 1, ``by_score``: the rank that the score alone gives, ``pin``: row
    of the rule that pinned it there, -1 for none.
    """

    position: Integers
    rank: Integers
    by_score: Integers
    pin: Integers


def pick(
    candidates: Candidates,
    score: Scores,
    catalogue: Catalogue,
    text: Floats,
    rules: ItemRules,
    k: int,
    new: Scores | None = None,
    kept_back: npt.NDArray[np.bool_] | None = None,
    discovery: Scores | None = None,
    discoveries: float = 0.0,
) -> Picked:
    """The best ``k`` candidates of each user that the rules allow. ``text`` [items, d]: vectors for similarity.

    ``new`` [candidates]: how much its content speaks for a new item, -inf for all others. Of every ``new_every`` places
    one is such an item's: the last, where none came by its score.
    ``discovery`` [candidates]: what orders items that their user never took, -inf for all others. At least the share
    ``discoveries`` of a list is such items: the last places, where too few came by their score.
    ``kept_back`` [candidates]: not for this user. Of items that are called the same a list holds one.

    Equal scores go by item index. Shares of categories, labels and brands, counted in places rounded up, hold while
    other candidates are left; what is unknown is never limited.
    """
    user, item = candidates.user, candidates.item
    left_out = rules.excluded[item] | _resting(candidates, rules.rules.cooldown)
    kept = np.flatnonzero(~left_out if kept_back is None else ~left_out & ~kept_back)
    if not len(kept):
        return Picked(*(np.empty(0, np.int64) for _ in range(4)))
    order = kept[np.lexsort((item[kept], -score[kept], user[kept]))]
    by_score = running_count(user[order])
    lift, buried = rules.lift[item[order]], rules.buried[item[order]]
    moved = np.lexsort((by_score, by_score - lift - 0.5 * (lift > 0), buried, user[order]))
    # Rectangles [users, width], -1 past the end of a user's candidates.
    shape = (int(user.max()) + 1, int(by_score.max()))
    row, column = user[order][moved], running_count(user[order][moved]) - 1
    position, place = np.full(shape, -1), np.zeros(shape, np.int64)
    position[row, column], place[row, column] = order[moved], by_score[moved]
    there = position >= 0
    items = np.where(there, item[position], -1)

    greedy = _Greedy(there, np.where(there, catalogue.title[items], -1))
    shares = rules.rules.category_share, rules.rules.label_share, rules.rules.brand_share
    codes = catalogue.category[:, None], catalogue.label_codes, catalogue.brand[:, None]
    for share, code in zip(shares, codes, strict=True):
        if share < 1 and code.shape[1]:
            greedy.limit(np.where(there[..., None], code[items], -1), max(1, int(np.ceil(share * k))))
    if rules.rules.diversity > 0:
        # A moved item counts as the score of its new place.
        worth = np.full(shape, np.nan)
        worth[row, column] = score[order]
        greedy.prefer_unlike(worth, items, text, rules.rules.diversity, k)
    if new is not None and rules.rules.new_every:
        fresh = np.full(shape, -np.inf)
        fresh[row, column] = np.where(rules.buried[item[order[moved]]], -np.inf, new[order[moved]])
        greedy.make_room(fresh, rules.rules.new_every)
    if discovery is not None and discoveries:
        unknown = np.full(shape, -np.inf)
        unknown[row, column] = np.where(rules.buried[item[order[moved]]], -np.inf, discovery[order[moved]])
        greedy.discover(unknown, int(discoveries * k + 1e-9))
    pins = [(number, rule.position - 1, rules.holds[number]) for number, rule in rules.pins if rule.position]
    for number, place_of_pin, holds in pins:
        if place_of_pin < k:
            greedy.pin(number, place_of_pin, holds[items] & there)
    chosen, pin = greedy.choose(k)

    listed = chosen >= 0
    rows = np.nonzero(listed)[0]
    at = chosen[listed]
    return Picked(position[rows, at], running_count(rows), place[rows, at], pin[listed])


def _resting(candidates: Candidates, cooldown: float) -> npt.NDArray[np.bool_]:
    """Candidates taken less than ``cooldown`` of the usual interval ago: the user's mean interval, else everyone's."""
    if not cooldown:
        return np.zeros(len(candidates), bool)
    own = candidates.columns["mean_gap_days"]
    usual = np.where(np.isnan(own), candidates.columns.get("item_gap_days", own), own)
    return np.asarray(candidates.columns["days_since_last"] < cooldown * usual)  # NaN: never taken, or no interval


class _Greedy:
    """Fills the places of all users' lists one after the other; every array is [users, width] in preferred order."""

    def __init__(self, there: npt.NDArray[np.bool_], title: Integers) -> None:
        self.free = there.copy()
        self.title = title  # code of what the candidate is called
        self.value = np.broadcast_to(-np.arange(there.shape[1], dtype=np.float64), there.shape)
        self.crowded = np.zeros(there.shape, bool)
        self.limits: list[tuple[Integers, Integers, int]] = []
        self.pins: dict[int, tuple[int, Integers]] = {}
        self.unlike: _Unlike | None = None
        self.new: Scores | None = None
        self.new_every = 0
        self.unknown: Scores | None = None
        self.least_unknown = 0

    def limit(self, codes: Integers, most: int) -> None:
        """At most so many places hold one of ``codes`` [users, width, codes of a candidate], -1 for none."""
        self.limits.append((codes, np.zeros((len(codes), int(codes.max(initial=0)) + 1), np.int64), most))

    def prefer_unlike(self, worth: Scores, items: Integers, text: Floats, weight: float, k: int) -> None:
        self.unlike = _Unlike(worth[:, : 50 + 2 * k], items, text, weight)

    def pin(self, number: int, place: int, holds: npt.NDArray[np.bool_]) -> None:
        """Reserve each user's first free candidate that the pin holds for."""
        fits = holds & self.free
        column = np.where(fits.any(axis=1), fits.argmax(axis=1), -1)
        self.pins[place] = (number, column)
        some = np.flatnonzero(column >= 0)
        self._remove(some, column[some])

    def make_room(self, new: Scores, every: int) -> None:
        """Of every so many places one is for a candidate that is ``new``: the best of them, -inf for no such one."""
        self.new, self.new_every = new, every

    def discover(self, unknown: Scores, least: int) -> None:
        """So many places at least are for candidates ``unknown`` to their user; -inf for all others."""
        self.unknown, self.least_unknown = unknown, least

    def choose(self, k: int) -> tuple[Integers, Integers]:
        """Column of each place [users, k], -1 where nothing is left, and the row of its pin."""
        n_users = len(self.free)
        chosen, pinned = np.full((n_users, k), -1), np.full((n_users, k), -1)
        users = np.arange(n_users)
        for place in range(k):
            value = self.value if self.unlike is None else self.unlike.value(self.value)
            allowed = self.free & ~self.crowded
            allowed = np.where(allowed.any(axis=1, keepdims=True), allowed, self.free)
            best = np.where(allowed, value, -np.inf).argmax(axis=1)
            exists = allowed[users, best]
            if self.unknown is not None:
                best = self._unknown_or(best, chosen[:, :place], k - place, allowed)
            if self.new is not None and (place + 1) % self.new_every == 0:
                best = self._new_or(best, chosen[:, place + 1 - self.new_every : place], allowed)
            if place in self.pins:
                number, column = self.pins[place]
                best, exists = np.where(column >= 0, column, best), exists | (column >= 0)
                pinned[column >= 0, place] = number
            chosen[exists, place] = best[exists]
            self._take(users[exists], best[exists])
        return chosen, pinned

    def _new_or(self, best: Integers, above: Integers, allowed: npt.NDArray[np.bool_]) -> Integers:
        """The best new candidate of each user; ``best`` where there is none, or one stands in the places ``above``."""
        assert self.new is not None
        worth = np.where(allowed, self.new, -np.inf)
        first = worth.argmax(axis=1)
        rows = np.arange(len(first))
        there = (np.isfinite(self.new[rows[:, None], above]) & (above >= 0)).any(axis=1)
        return np.where(np.isfinite(worth[rows, first]) & ~there, first, best)

    def _unknown_or(self, best: Integers, above: Integers, left: int, allowed: npt.NDArray[np.bool_]) -> Integers:
        """The best unknown candidate of each user who needs one in every place that is ``left``; else ``best``."""
        assert self.unknown is not None
        worth = np.where(allowed, self.unknown, -np.inf)
        first = worth.argmax(axis=1)
        rows = np.arange(len(first))
        there = (np.isfinite(self.unknown[rows[:, None], above]) & (above >= 0)).sum(axis=1)
        wanted = (self.least_unknown - there >= left) & np.isfinite(worth[rows, first])
        return np.where(wanted, first, best)

    def _remove(self, users: Integers, columns: Integers) -> None:
        """What is taken is no longer free, nor is what is called the same."""
        self.free[users] &= self.title[users] != self.title[users, columns][:, None]
        self.free[users, columns] = False

    def _take(self, users: Integers, columns: Integers) -> None:
        self._remove(users, columns)
        for codes, count, most in self.limits:
            taken = codes[users, columns]
            row, place = np.nonzero(taken >= 0)
            count[users[row], taken[row, place]] += 1
            everyone = np.arange(len(codes))[:, None, None]
            self.crowded |= ((count[everyone, codes] >= most) & (codes >= 0)).any(axis=-1)
        if self.unlike is not None:
            self.unlike.take(users, columns)


class _Unlike:
    """Maximal marginal relevance, MMR (Carbonell and Goldstein 1998, SIGIR), over each user's first candidates.

    A candidate's value: its score scaled to 0 to 1 within the user, less ``weight`` times its largest cosine to an
    item above.
    """

    def __init__(self, worth: Scores, items: Integers, text: Floats, weight: float) -> None:
        worth = np.where(np.isfinite(worth), worth, np.nan)
        low, high = (bound(worth, axis=1, keepdims=True) for bound in (np.fmin.reduce, np.fmax.reduce))
        self.worth = np.nan_to_num((worth - low) / np.where(high > low, high - low, 1))
        self.items, self.text, self.weight = items, text, weight
        self.vectors = _unit(text[items[:, : worth.shape[1]]])
        self.nearest = np.zeros(worth.shape, np.float32)

    def value(self, otherwise: Scores) -> Scores:
        value = otherwise - 1.0  # candidates that are not compared follow those that are
        value[:, : self.worth.shape[1]] = (1 - self.weight) * self.worth - self.weight * self.nearest
        return np.asarray(value)

    def take(self, users: Integers, columns: Integers) -> None:
        taken = _unit(self.text[self.items[users, columns]])
        cosine = np.einsum("uwd,ud->uw", self.vectors[users], taken)
        self.nearest[users] = np.maximum(self.nearest[users], cosine)


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9), np.float32)


def running_count(groups: Integers) -> Integers:
    """How often each value has occurred so far, itself included."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]][: len(ordered)])
    lengths = np.diff(np.r_[starts, len(ordered)])
    counts = np.empty(len(groups), np.int64)
    counts[order] = np.arange(len(ordered)) - np.repeat(starts, lengths) + 1
    return counts

"""The facts behind each listed item, those that raised its score most first."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from zhiyin.language.words import Wording
from zhiyin.recommender.candidates import CandidateGenerator
from zhiyin.recommender.candidates.interest import Interest
from zhiyin.recommender.explanation.together import Together
from zhiyin.recommender.explanation.window import Window
from zhiyin.recommender.features import Candidates
from zhiyin.recommender.features.registry import group_by_evidence
from zhiyin.recommender.ranker import Ranker
from zhiyin.recommender.state.catalogue import SECONDS_PER_DAY, Catalogue, Floats, Integers, ItemState
from zhiyin.recommender.state.users import Users

Evidence = dict[str, Any]  # {"kind": …} and its facts, ready for JSON
Weights = dict[str, npt.NDArray[np.float64]]  # by kind of fact, [candidates that were chosen]
Facts = Iterator[tuple[int, Evidence]]  # the place that each is about

# From which rank, share or count on a fact is worth saying.
ALIKE_RANK, ALIKE_SHARE = 20, 0.05
POPULAR_RANK = 100
INTEREST_RANK = 20
LEAST_OF_GROUP = 3  # events
PROMOTED_REACH = 0.2
LEAST_GAPS = 3  # a rhythm
MOST_SPREAD = 0.4  # ... standard deviation of its gaps over their mean
MOST_GAPS_SINCE = 2.0  # ... since the latest

FOR_COLD_USERS = {"people_alike": 0, "popular_now": 1}  # what orders their lists
ASKED_FIRST = 2  # facts of an item within which the interest encoder is asked what moved it: it takes time


def weigh_evidence(ranker: Ranker, candidates: Candidates, chosen: Integers) -> Weights:
    """The score drop of each chosen candidate when the features behind each kind of fact are unknown.

    Sums of exact contributions (TreeSHAP) name the same first fact in 99 % of planted cases and cost as much time as
    the list itself (docs/lab/explanations.md).
    """
    return ranker.score_drop(candidates, chosen, _columns(tuple(ranker.features)))


@cache
def _columns(features: tuple[str, ...]) -> dict[str, list[int]]:
    """The places, among the ranker's features, of those that support each kind of fact."""
    places = {name: place for place, name in enumerate(features)}
    return {kind: [places[name] for name in names] for kind, names in group_by_evidence(features).items()}


@dataclass(frozen=True)
class Listed:
    """The places of a batch's lists: row of the user and item of each, and what is known of both."""

    users: Users
    user: Integers
    item: Integers
    column: dict[str, Floats]
    catalogue: Catalogue
    items: ItemState
    wording: Wording

    def last_chosen(self, entry: int) -> dict[str, Any]:
        """Times and last day of an entry of the users' repeats."""
        repeats = self.users.repeats
        at = self.users.at[repeats.user[entry]] - float(repeats.last_days[entry]) * SECONDS_PER_DAY
        return {"times": int(repeats.baskets[entry]), "last_chosen": self.wording.day(round(at))}

    def named(self, item: int) -> dict[str, str]:
        return {"item_id": self.catalogue.item_ids[item], "title": self.catalogue.titles[item]}


def gather_evidence(
    users: Users,
    candidates: Candidates,
    chosen: Integers,
    catalogue: Catalogue,
    items: ItemState,
    generators: dict[str, CandidateGenerator],
    weights: Weights,
    wording: Wording,
    together: Together | None = None,
) -> list[list[Evidence]]:
    """The facts for each chosen candidate (positions in ``candidates``) that raised its score, most first.

    No fact names an item that the user graded below the usual. The ranker does not score users without a history:
    people alike or popularity order their lists, so those facts alone are stated. Of an item that is new to a user
    with a history, facts about the user come first, and that others take it is none.
    """
    column = {name: values[chosen] for name, values in candidates.columns.items()}
    listed = Listed(users, candidates.user[chosen], candidates.item[chosen], column, catalogue, items, wording)
    window = Window.of_users(users)
    gathered: list[list[Evidence]] = [[] for _ in chosen]
    sources = (
        _chosen_before(listed),
        _similar(listed, together),
        _same_kind(listed),
        _favourites(listed, window),
        _alike(listed),
        _promoted(listed),
        _popular(listed),
    )
    for place, fact in (pair for source in sources for pair in source):
        gathered[place].append(fact)
    known, new = users.with_history[listed.user], column["baskets"] == 0

    def kept(place: int, kind: str) -> bool:
        if not known[place]:
            return kind in FOR_COLD_USERS
        return bool(weights[kind][place] > 0) and not (new[place] and kind == "popular_now")

    def order(place: int, kind: str) -> tuple[bool, float]:
        if not known[place]:
            return False, FOR_COLD_USERS.get(kind, len(FOR_COLD_USERS))
        return bool(new[place]) and kind == "people_alike", -float(weights[kind][place])

    for place, facts in enumerate(gathered):
        facts[:] = [fact for fact in facts if kept(place, fact["kind"])]
    if isinstance(encoder := generators.get("interest"), Interest):
        fits = _above_usual(listed, encoder) & known & (weights["interest"] > 0)
        fits &= [
            sum(order(place, fact["kind"]) < order(place, "interest") for fact in facts) < ASKED_FIRST
            for place, facts in enumerate(gathered)
        ]
        for place, fact in _interest(listed, encoder, window, np.flatnonzero(fits)):
            gathered[place].append(fact)
    for place, facts in enumerate(gathered):
        facts.sort(key=lambda fact, place=place: order(place, fact["kind"]))  # type: ignore[misc]
    return gathered


def _chosen_before(listed: Listed) -> Facts:
    column, users = listed.column, listed.users
    below, n_items = users.liking < 0, len(listed.catalogue)
    disliked = users.repeats.user[below] * n_items + users.repeats.item[below]
    mine = (column["baskets"] > 0) & ~np.isin(listed.user * n_items + listed.item, disliked)
    gaps, gap = column["item_recent_baskets"] - 1, column["item_recent_gap_days"]
    steady = (gaps >= LEAST_GAPS) & (column["item_recent_gap_spread"] <= MOST_SPREAD * gap) & (gap >= 1)
    steady &= column["days_since_last"] <= MOST_GAPS_SINCE * gap
    at = users.at[listed.user] - column["days_since_last"].astype(np.float64) * SECONDS_PER_DAY
    for place in np.flatnonzero(mine):
        rhythm: Evidence = {"usual_gap_days": None}
        if steady[place]:
            rhythm = {"usual_gap_days": round(float(gap[place])), "gaps": int(gaps[place])}
        yield (
            int(place),
            {
                "kind": "chosen_before",
                "times": int(column["baskets"][place]),
                "last_chosen": listed.wording.day(round(float(at[place]))),
                **rhythm,
            },
        )


def _similar(listed: Listed, together: Together | None) -> Facts:
    if together is None:
        return
    entry, both = together.own(listed.users, listed.user, listed.item, listed.catalogue)
    own = listed.users.repeats.item
    for place in np.flatnonzero(entry >= 0):
        other = own[entry[place]]
        lift = together.lift(listed.item[place], other, both[place])
        yield (
            int(place),
            {
                "kind": "similar_to_chosen",
                **listed.named(int(other)),
                **listed.last_chosen(int(entry[place])),
                "together": int(both[place]),
                "among": together.unit,
                "lift": round(float(lift), 2),
            },
        )


def _same_kind(listed: Listed) -> Facts:
    """Of what is new to the user: the own item of its kind that the user takes most."""
    repeats, kind = listed.users.repeats, listed.catalogue.kind
    n_kinds = int(kind.max(initial=0)) + 1
    held = np.where(
        (kind[repeats.item] >= 0) & ~(listed.users.liking < 0), repeats.user * n_kinds + kind[repeats.item], -1
    )
    order = np.lexsort((repeats.item, -repeats.long, held))
    new = (listed.column["baskets"] == 0) & (kind[listed.item] >= 0)
    wanted = np.where(new, listed.user * n_kinds + kind[listed.item], -2)
    start, stop = np.searchsorted(held[order], wanted), np.searchsorted(held[order], wanted, "right")
    title = listed.catalogue.title
    for place in np.flatnonzero(stop > start):
        entries = order[start[place] : stop[place]]
        entries = entries[title[repeats.item[entries]] != title[listed.item[place]]]
        if len(entries):
            best = int(entries[0])
            yield (
                int(place),
                {"kind": "same_kind", **listed.named(int(repeats.item[best])), **listed.last_chosen(best)},
            )


def _favourites(listed: Listed, window: Window) -> Facts:
    catalogue, pairs = listed.catalogue, (listed.user, listed.item, listed.catalogue)
    of, itself = window.of[listed.user], window.items(*pairs)
    counts: dict[str, tuple[Integers, Integers, list[str]]] = {
        "category": (window.categories(*pairs), catalogue.category[listed.item], catalogue.categories)
    }
    if catalogue.label_names:
        counts["label"] = (*window.labels(*pairs), catalogue.label_names)
    for group, (count, code, names) in counts.items():
        for place in np.flatnonzero(count >= LEAST_OF_GROUP):
            numbers = {"count": int(count[place]), "of": int(of[place]), "itself": int(itself[place])}
            yield int(place), {"kind": f"favourite_{group}", group: names[code[place]], **numbers}


def _alike(listed: Listed) -> Facts:
    if "people_alike_rank" in listed.column:
        rank, share = listed.column["people_alike_rank"], listed.column["people_alike_score"]
        for place in np.flatnonzero((rank <= ALIKE_RANK) & (share >= ALIKE_SHARE)):
            yield (
                int(place),
                {"kind": "people_alike", "rank": int(rank[place]), "share": round(float(share[place]), 3)},
            )


def _promoted(listed: Listed) -> Facts:
    if "promoted" in listed.items.columns:
        reach = listed.items.column("promoted")[listed.item]
        for place in np.flatnonzero(reach >= PROMOTED_REACH):
            yield int(place), {"kind": "on_promotion", "reach": round(float(reach[place]), 3)}


def _popular(listed: Listed) -> Facts:
    rank, takers = listed.column["popularity_rank"], listed.items.column("users_28d")[listed.item]
    # The last day that the counts hold ends at the moment of the items' state.
    until = listed.wording.day(listed.items.at - 1)
    for place in np.flatnonzero(rank <= POPULAR_RANK):
        numbers = {"rank": int(rank[place]), "users_28d": int(takers[place])}
        yield int(place), {"kind": "popular_now", **numbers, "until": until}


def _above_usual(listed: Listed, encoder: Interest) -> npt.NDArray[np.bool_]:
    """Whether the encoder puts the item high for the user, and higher than for the average user."""
    rank = listed.column["interest_rank"]
    usual = encoder.usual_rank(listed.items)
    if usual is None:
        return np.zeros(len(rank), bool)
    return np.asarray((rank <= INTEREST_RANK) & (rank < usual[listed.item]))


def _interest(listed: Listed, encoder: Interest, window: Window, places: Integers) -> Facts:
    moved = encoder.moved_by(listed.users, listed.user[places], listed.item[places], window.position, listed.catalogue)
    for place, items in zip(places, moved, strict=True):
        if items:
            titles = [listed.catalogue.titles[item] for item in items]
            ids = [listed.catalogue.item_ids[item] for item in items]
            rank = int(listed.column["interest_rank"][place])
            yield int(place), {"kind": "interest", "rank": rank, "item_ids": ids, "titles": titles}

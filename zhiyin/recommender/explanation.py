"""Why an item is in a list: facts first, then sentences that state only those facts (law 6)."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from zhiyin.language.words import Wording
from zhiyin.recommender.candidates import CandidateGenerator, ItemToItem
from zhiyin.recommender.features import Candidates
from zhiyin.recommender.features.registry import group_by_evidence
from zhiyin.recommender.ranker import Ranker
from zhiyin.recommender.state.catalogue import SECONDS_PER_DAY, Catalogue, Integers, ItemState
from zhiyin.recommender.state.users import Users

Evidence = dict[str, Any]  # {"kind": …} and its facts, ready for JSON

# From which rank or share on a fact is stated.
ALIKE_RANK = 20
POPULAR_RANK = 100
INTEREST_RANK = 20
FAVOURITE_SHARE = 0.02
PROMOTED_REACH = 0.2

FOR_COLD_USERS = {"people_alike": 0, "popular_now": 1}
Weights = dict[str, npt.NDArray[np.float64]]  # by kind of fact, [candidates that were chosen]


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


def gather_evidence(
    users: Users,
    candidates: Candidates,
    chosen: Integers,
    catalogue: Catalogue,
    items: ItemState,
    generators: dict[str, CandidateGenerator],
    weights: Weights,
) -> list[list[Evidence]]:
    """The facts for each chosen candidate (positions in ``candidates``), the largest score drop first.

    No fact names an item that the user graded below the usual. Facts of equal weight stand with the most personal
    first. The ranker does not score users without a history: people alike or popularity order their lists, so those
    facts come first.
    """
    user, item = candidates.user[chosen], candidates.item[chosen]
    column = {name: values[chosen] for name, values in candidates.columns.items()}
    because = np.full(len(chosen), -1)
    if isinstance(similar := generators.get("item_to_item"), ItemToItem):
        because = similar.closest(users, user, item)
    labels = _favourite_labels(users, user, item, catalogue)
    below = users.liking < 0
    disliked = set(zip(users.repeats.user[below], users.repeats.item[below], strict=True))
    gathered: list[list[Evidence]] = []
    for place in range(len(chosen)):
        facts: list[Evidence] = []
        if column["baskets"][place] > 0 and (user[place], item[place]) not in disliked:
            last = users.at[user[place]] - float(column["days_since_last"][place]) * SECONDS_PER_DAY
            gap = float(column["mean_gap_days"][place])
            facts.append(
                {
                    "kind": "chosen_before",
                    "times": int(column["baskets"][place]),
                    "last_chosen": datetime.fromtimestamp(last, UTC).date().isoformat(),
                    "usual_gap_days": None if np.isnan(gap) else round(gap),
                }
            )
        if because[place] >= 0:
            other = int(because[place])
            facts.append(
                {"kind": "similar_to_chosen", "item_id": catalogue.item_ids[other], "title": catalogue.titles[other]}
            )
        if column["category_affinity"][place] >= FAVOURITE_SHARE:
            facts.append(
                {
                    "kind": "favourite_category",
                    "category": catalogue.categories[catalogue.category[item[place]]],
                    "share": round(float(column["category_affinity"][place]), 3),
                }
            )
        if "label_affinity" in column and column["label_affinity"][place] >= FAVOURITE_SHARE:
            share = float(column["label_affinity"][place])
            facts.append({"kind": "favourite_label", "label": labels[place], "share": round(share, 3)})
        if column["interest_rank"][place] <= INTEREST_RANK:
            facts.append({"kind": "interest", "rank": int(column["interest_rank"][place])})
        if "people_alike_rank" in column and column["people_alike_rank"][place] <= ALIKE_RANK:
            facts.append({"kind": "people_alike", "rank": int(column["people_alike_rank"][place])})
        if "promoted" in items.columns and items.column("promoted")[item[place]] >= PROMOTED_REACH:
            reach = float(items.column("promoted")[item[place]])
            facts.append({"kind": "on_promotion", "reach": round(reach, 3)})
        if column["popularity_rank"][place] <= POPULAR_RANK:
            buyers = int(items.column("users_28d")[item[place]])
            rank = int(column["popularity_rank"][place])
            facts.append({"kind": "popular_now", "rank": rank, "users_28d": buyers})
        known = users.with_history[user[place]]
        facts.sort(key=lambda fact: -weights[fact["kind"]][place] if known else FOR_COLD_USERS.get(fact["kind"], 2))
        gathered.append(facts)
    return gathered


def _favourite_labels(users: Users, user: Integers, item: Integers, catalogue: Catalogue) -> list[str | None]:
    """Of each pair's item the label that the user's events have most; None where they have none of its labels."""
    mine: dict[int, dict[int, float]] = {}
    held = users.label_affinity
    for owner, code, share in zip(held.user.tolist(), held.code.tolist(), held.share.tolist(), strict=True):
        mine.setdefault(owner, {})[code] = share
    found: list[str | None] = []
    for owner, one in zip(user.tolist(), item.tolist(), strict=True):
        shares = mine.get(owner, {})
        codes = catalogue.labels.indices[catalogue.labels.indptr[one] : catalogue.labels.indptr[one + 1]].tolist()
        known = [code for code in codes if code in shares]
        found.append(catalogue.label_names[max(known, key=lambda code: (shares[code], -code))] if known else None)
    return found


def _chosen_before(fact: Evidence, wording: Wording) -> str:
    if fact["times"] == 1:
        return f"you {wording.did} it on {_day(fact['last_chosen'])}"
    often = f"you {wording.did} it {fact['times']} times"
    rhythm = f", about every {_days(fact['usual_gap_days'])}" if fact["usual_gap_days"] else ""
    return f"{often}{rhythm}, last on {_day(fact['last_chosen'])}"


def _rule(fact: Evidence, wording: Wording) -> str:
    verb = "placed here" if fact["action"] == "pin" else "favoured"
    return f"{verb} by a rule ({fact['rule']})"


SENTENCES: dict[str, Callable[[Evidence, Wording], str]] = {
    "chosen_before": _chosen_before,
    "similar_to_chosen": lambda fact, wording: f"goes with {fact['title']}, which you {wording.did}",
    "favourite_category": lambda fact, wording: (
        f"{fact['share']:.0%} of your recent {wording.events} are {_name(fact['category'])}"
    ),
    "favourite_label": lambda fact, wording: (
        f"{fact['share']:.0%} of your recent {wording.events} are {_name(fact['label'])}"
    ),
    "interest": lambda fact, wording: f"fits your latest {wording.events}",
    "people_alike": lambda fact, wording: f"often {wording.done} by people like you",
    "on_promotion": lambda fact, wording: wording.words.promotion.format(reach=f"{fact['reach']:.0%}"),
    "popular_now": lambda fact, wording: (
        f"popular now: {fact['users_28d']} people {wording.did} it in the last 28 days"
    ),
    "rule": _rule,
}


def say(evidence: list[Evidence], wording: Wording, most: int = 2) -> str | None:
    """One sentence from the first ``most`` facts; None where there are none."""
    words = [SENTENCES[fact["kind"]](fact, wording) for fact in evidence[:most] if fact.get("action") != "bury"]
    if not words:
        return None
    sentence = "; ".join(words)
    return f"{sentence[0].upper()}{sentence[1:]}."


def _day(date: str) -> str:
    day = datetime.fromisoformat(date)
    return f"{day.day} {day:%B %Y}"


def _days(count: int) -> str:
    return "day" if count == 1 else f"{count} days"


def _name(group: str) -> str:
    return group.lower()

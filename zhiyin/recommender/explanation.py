"""Why an item is in a list: evidence first, then words that say no more than the evidence holds."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from zhiyin.recommender.candidates import CandidateGenerator, ItemToItem
from zhiyin.recommender.features import Candidates
from zhiyin.recommender.ranker import Ranker
from zhiyin.recommender.state.catalogue import SECONDS_PER_DAY, Catalogue, Integers, ItemState
from zhiyin.recommender.state.users import Users

Evidence = dict[str, Any]  # {"kind": …} and its facts, ready for JSON

# When a fact is worth a word.
ALIKE_RANK = 20
POPULAR_RANK = 100
INTEREST_RANK = 20
FAVOURITE_SHARE = 0.02
PROMOTED_STORES = 0.2

HABIT = "baskets|quantity_a_basket|days_since_(last|first)|mean_gap_days|due|baskets_a_day|long_short_trend"
RHYTHM = "recent_.*|baskets_since|last_gap_days"
SIGNALS = {  # by kind of fact, the ranker's features that it rests on
    "chosen_before": f"{HABIT}|(long|short)(_of_best)?|item_({RHYTHM})|due_for_all|personal_frequency_(score|rank)",
    "similar_to_chosen": "item_to_item_(score|rank)",
    "favourite_category": f"category_({RHYTHM}|affinity|long|short|items|days_since_last|best_long)",
    "interest": "interest_(score|rank)",
    "people_alike": "people_alike_(score|rank)",
    "on_promotion": "item_promoted",
    "popular_now": r"popularity_(score|rank)|item_(events|users)_\d+d|item_trend_(week|month)",
}
FOR_COLD_USERS = {"people_alike": 0, "popular_now": 1}
Weights = dict[str, npt.NDArray[np.float64]]  # by kind of fact, [candidates that were chosen]


def weigh_evidence(ranker: Ranker, candidates: Candidates, chosen: Integers) -> Weights:
    """How much the signals of each kind of fact raised the score of each chosen candidate.

    What the score would lose without them. The sums of exact contributions name nearly always the same first fact (99 %
    of planted cases) and cost as much as the whole list does (docs/benchmarks.md).
    """
    return ranker.score_drop(candidates, chosen, _columns(tuple(ranker.features)))


@cache
def _columns(features: tuple[str, ...]) -> dict[str, list[int]]:
    """Where the signals of each kind stand."""
    return {
        kind: [place for place, feature in enumerate(features) if re.fullmatch(names, feature)]
        for kind, names in SIGNALS.items()
    }


def gather_evidence(
    users: Users,
    candidates: Candidates,
    chosen: Integers,
    catalogue: Catalogue,
    items: ItemState,
    generators: dict[str, CandidateGenerator],
    weights: Weights,
) -> list[list[Evidence]]:
    """The facts for each chosen candidate (positions in ``candidates``), what raised its score most first.

    Of equal weight: the most personal first. Of somebody without a history the ranker says nothing; what people alike
    take, or what is popular now, made that list, so it comes first.
    """
    user, item = candidates.user[chosen], candidates.item[chosen]
    column = {name: values[chosen] for name, values in candidates.columns.items()}
    because = np.full(len(chosen), -1)
    if isinstance(similar := generators.get("item_to_item"), ItemToItem):
        because = similar.closest(users, user, item)
    gathered: list[list[Evidence]] = []
    for place in range(len(chosen)):
        facts: list[Evidence] = []
        if column["baskets"][place] > 0:
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
        if column["interest_rank"][place] <= INTEREST_RANK:
            facts.append({"kind": "interest", "rank": int(column["interest_rank"][place])})
        if "people_alike_rank" in column and column["people_alike_rank"][place] <= ALIKE_RANK:
            facts.append({"kind": "people_alike", "rank": int(column["people_alike_rank"][place])})
        if "promoted" in items.columns and items.column("promoted")[item[place]] >= PROMOTED_STORES:
            share = float(items.column("promoted")[item[place]])
            facts.append({"kind": "on_promotion", "stores_share": round(share, 3)})
        if column["popularity_rank"][place] <= POPULAR_RANK:
            buyers = int(items.column("users_28d")[item[place]])
            rank = int(column["popularity_rank"][place])
            facts.append({"kind": "popular_now", "rank": rank, "users_28d": buyers})
        known = users.with_history[user[place]]
        facts.sort(key=lambda fact: -weights[fact["kind"]][place] if known else FOR_COLD_USERS.get(fact["kind"], 2))
        gathered.append(facts)
    return gathered


@dataclass(frozen=True)
class EventPhrase:
    """What users do with items in this log, in words: ``did`` it to an item; ``noun`` are such acts."""

    did: str
    noun: str

    @classmethod
    def of(cls, event_types: Sequence[str]) -> "EventPhrase":
        """Of the log's event types; where there are several, no word says more than that the item was chosen."""
        return EVENT_PHRASES.get(event_types[0], CHOICE) if len(event_types) == 1 else CHOICE


EVENT_PHRASES = {
    "purchase": EventPhrase("bought", "purchases"),
    "rating": EventPhrase("rated", "ratings"),
    "view": EventPhrase("viewed", "views"),
    "click": EventPhrase("opened", "clicks"),
}
CHOICE = EventPhrase("chose", "choices")


def _chosen(phrase: EventPhrase) -> str:
    return "chosen" if phrase is CHOICE else phrase.did


def _chosen_before(fact: Evidence, phrase: EventPhrase) -> str:
    if fact["times"] == 1:
        return f"you {phrase.did} it on {_day(fact['last_chosen'])}"
    often = f"you {phrase.did} it {fact['times']} times"
    rhythm = f", about every {_days(fact['usual_gap_days'])}" if fact["usual_gap_days"] else ""
    return f"{often}{rhythm}, last on {_day(fact['last_chosen'])}"


def _rule(fact: Evidence, phrase: EventPhrase) -> str:
    verb = "placed here" if fact["action"] == "pin" else "favoured"
    return f"{verb} by the shop ({fact['rule']})"


WORDS: dict[str, Callable[[Evidence, EventPhrase], str]] = {
    "chosen_before": _chosen_before,
    "similar_to_chosen": lambda fact, phrase: f"goes with {fact['title']}, which you {phrase.did}",
    "favourite_category": lambda fact, phrase: (
        f"{fact['share']:.0%} of your recent {phrase.noun} are {_name(fact['category'])}"
    ),
    "interest": lambda fact, phrase: f"fits your latest {phrase.noun}",
    "people_alike": lambda fact, phrase: f"often {_chosen(phrase)} by people like you",
    "on_promotion": lambda fact, phrase: (
        f"on display or in the leaflet of {fact['stores_share']:.0%} of stores this week"
    ),
    "popular_now": lambda fact, phrase: f"popular now: {fact['users_28d']} people {phrase.did} it in the last 28 days",
    "rule": _rule,
}


def say(evidence: list[Evidence], phrase: EventPhrase, most: int = 2) -> str | None:
    """One sentence from the first ``most`` facts; None where there are none."""
    words = [WORDS[fact["kind"]](fact, phrase) for fact in evidence[:most] if fact.get("action") != "bury"]
    if not words:
        return None
    sentence = "; ".join(words)
    return f"{sentence[0].upper()}{sentence[1:]}."


def _day(date: str) -> str:
    day = datetime.fromisoformat(date)
    return f"{day.day} {day:%B %Y}"


def _days(count: int) -> str:
    return "day" if count == 1 else f"{count} days"


def _name(category: str) -> str:
    return category.lower()

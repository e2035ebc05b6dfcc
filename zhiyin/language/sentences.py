"""Sentences of an item's facts: each says only what its fact holds, and no list says one phrase over and over."""

from collections import Counter
from collections.abc import Callable
from datetime import date
from typing import Any

from zhiyin.language.words import Wording

Fact = dict[str, Any]
Phrase = Callable[[Fact, Wording], str]

MOST_FACTS = 2  # of a sentence
MOST_ALIKE, PLACES = 3, 10  # one phrase is said so often in so many places, whatever its numbers and names

# What a kind of fact is about. A sentence holds no two facts about the same thing.
TOPICS = {
    "chosen_before": "the item itself",
    "similar_to_chosen": "another item",
    "same_kind": "another item",
    "interest": "another item",
    "favourite_category": "its group",
    "favourite_label": "its group",
    "people_alike": "others",
    "popular_now": "others",
}
UNEXPLAINED: Fact = {"kind": "unexplained"}  # nothing that can be checked raised the score


class Teller:
    """Makes the sentences of one list, one place after the other."""

    def __init__(self, wording: Wording) -> None:
        self._wording = wording
        self._places = 0
        self._said: Counter[tuple[str, Phrase | str]] = Counter()

    def tell(self, facts: list[Fact]) -> str:
        """A sentence of the first facts that stand together; each that it states gets ``said``."""
        self._places += 1
        most = MOST_ALIKE * -(-self._places // PLACES)
        facts = [fact for fact in facts if fact.get("action") != "bury"] or [UNEXPLAINED]
        stated: list[tuple[Fact, str]] = []
        for fact in facts:
            if len(stated) < MOST_FACTS and not any(say_the_same(fact, other) for other, _ in stated):
                stated += [(fact, words) for words in self._fresh(fact, most)[:1]]
        stated = stated or [(facts[0], self._fresh(facts[0], None)[0])]
        for fact, _ in stated:
            if fact is not UNEXPLAINED:
                fact["said"] = True
        sentence = "; ".join(words for _, words in stated)
        return f"{sentence[0].upper()}{sentence[1:]}."

    def _fresh(self, fact: Fact, most: int | None) -> list[str]:
        """The fact in its least said phrase; nothing where each of them was said ``most`` times."""
        kind = fact["kind"]
        least = min(PHRASES[kind], key=lambda phrase: self._said[kind, phrase])
        words = least(fact, self._wording)
        keys: list[tuple[str, Phrase | str]] = [(kind, least), (kind, words)]
        keys += [("about", name) for name in _about(fact)]
        if most is not None and any(self._said[key] >= most for key in keys):
            return []
        self._said.update(keys)
        return [words]


def _about(fact: Fact) -> list[str]:
    """What a fact names besides the item: a list names nothing over and over."""
    named = fact.get("titles") or [fact.get("title") or fact.get("category") or fact.get("label")]
    return [name for name in named if name]


def say_the_same(fact: Fact, other: Fact) -> bool:
    """Whether two facts are of one topic, or one is the share of a group which the item of the other makes up."""
    if (topic := TOPICS.get(fact["kind"])) is not None and topic == TOPICS.get(other["kind"]):
        return True
    kinds = {fact["kind"], other["kind"]}
    share = next((each for each in (fact, other) if "itself" in each), None)
    return "chosen_before" in kinds and share is not None and 2 * share["itself"] > share["count"]


def _day(day: str) -> str:
    found = date.fromisoformat(day)
    return f"{found.day} {found:%B %Y}"


def _ordinal(count: int) -> str:
    ending = "th" if count % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(count % 10, "th")
    return f"{count}{ending}"


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _rhythm(fact: Fact) -> str:
    """The gap is that of the latest baskets with the item, which need not be all."""
    if not (days := fact["usual_gap_days"]):
        return ""
    lately = "" if fact["gaps"] + 1 == fact["times"] else "lately "
    return f", {lately}about every {'day' if days == 1 else f'{days} days'}"


def _once(phrase: Phrase, otherwise: Phrase) -> Phrase:
    return lambda fact, wording: (phrase if fact["times"] == 1 else otherwise)(fact, wording)


def _other(fact: Fact, wording: Wording) -> str:
    return f"{fact['title']}, which you {wording.did} on {_day(fact['last_chosen'])}"


def _of_its_kind(fact: Fact, wording: Wording) -> str:
    on = "on" if fact["times"] == 1 else "last on"
    return f"{fact['title']}, which you {wording.did} {_times(fact['times'])}, {on} {_day(fact['last_chosen'])}"


def _named(fact: Fact) -> str:
    return " and ".join(fact["titles"])


def _share(fact: Fact, wording: Wording) -> str:
    return f"{fact['count']} of your last {fact['of']} {wording.events}"


def _group(fact: Fact, wording: Wording) -> str:
    return wording.group(fact.get("category") or fact["label"])


def _rule(fact: Fact, wording: Wording) -> str:
    verb = "placed here" if fact["action"] == "pin" else "favoured"
    return f"{verb} by a rule ({fact['rule']})"


_SHARES: tuple[Phrase, ...] = (
    lambda fact, wording: f"{_share(fact, wording)} are {_group(fact, wording)}",
    lambda fact, wording: f"{_group(fact, wording)}: {_share(fact, wording)}",
    lambda fact, wording: f"of {_group(fact, wording)}, as {_share(fact, wording)} are",
)
PHRASES: dict[str, tuple[Phrase, ...]] = {
    "chosen_before": (
        _once(
            lambda fact, wording: f"you {wording.did} it on {_day(fact['last_chosen'])}",
            lambda fact, wording: (
                f"you {wording.did} it {_times(fact['times'])}{_rhythm(fact)}, last on {_day(fact['last_chosen'])}"
            ),
        ),
        _once(
            lambda fact, wording: f"{wording.done} once so far, on {_day(fact['last_chosen'])}",
            lambda fact, wording: (
                f"{wording.done} {_times(fact['times'])} so far{_rhythm(fact)}, most recently on "
                f"{_day(fact['last_chosen'])}"
            ),
        ),
        _once(
            lambda fact, wording: f"one of your {wording.events} of {_day(fact['last_chosen'])}",
            lambda fact, wording: (
                f"{fact['times']} of your {wording.words.basket}s held it{_rhythm(fact)}, the latest that of "
                f"{_day(fact['last_chosen'])}"
            ),
        ),
        _once(
            lambda fact, wording: f"in your {wording.words.basket} of {_day(fact['last_chosen'])}",
            lambda fact, wording: (
                f"on {_day(fact['last_chosen'])} you {wording.did} it for the {_ordinal(fact['times'])} "
                f"time{_rhythm(fact)}"
            ),
        ),
    ),
    "similar_to_chosen": (
        lambda fact, wording: f"goes with {_other(fact, wording)}",
        lambda fact, wording: f"often {wording.done} along with {_other(fact, wording)}",
        lambda fact, wording: (
            f"you {wording.did} {fact['title']} on {_day(fact['last_chosen'])}, and the two go together"
        ),
    ),
    "same_kind": (
        lambda fact, wording: f"of the same kind as {_of_its_kind(fact, wording)}",
        lambda fact, wording: (
            f"you {wording.did} {fact['title']} {_times(fact['times'])}, "
            f"{'on' if fact['times'] == 1 else 'last on'} {_day(fact['last_chosen'])}, which is of this kind"
        ),
        lambda fact, wording: f"another of the kind of {_of_its_kind(fact, wording)}",
    ),
    "favourite_category": _SHARES,
    "favourite_label": _SHARES,
    "interest": (
        lambda fact, wording: f"fits your latest {wording.events}, such as {_named(fact)}",
        lambda fact, wording: f"follows from {_named(fact)}, among your latest {wording.events}",
        lambda fact, wording: f"in line with your {wording.events} of {_named(fact)}",
    ),
    "people_alike": (lambda fact, wording: f"often {wording.done} by people like you",),
    "on_promotion": (lambda fact, wording: wording.words.promotion.format(reach=f"{fact['reach']:.0%}"),),
    "popular_now": (
        lambda fact, wording: (
            f"popular: {fact['users_28d']} people {wording.did} it in the 28 days to {_day(fact['until'])}"
        ),
        lambda fact, wording: f"{wording.done} by {fact['users_28d']} people in the 28 days to {_day(fact['until'])}",
        lambda fact, wording: f"{fact['users_28d']} people {wording.did} it in the four weeks to {_day(fact['until'])}",
        lambda fact, wording: (
            f"in demand: in the 28 days to {_day(fact['until'])} {fact['users_28d']} people {wording.did} it"
        ),
    ),
    "rule": (_rule,),
    "unexplained": (
        lambda fact, wording: "ranked here by many small signals; none of them alone says why",
        lambda fact, wording: "the model as a whole places it here, no single fact does",
        lambda fact, wording: "placed by the sum of many signals, none of which tells much alone",
        lambda fact, wording: "no single fact speaks for it, the sum of many does",
    ),
}

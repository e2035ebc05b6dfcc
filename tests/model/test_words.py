"""A domain's words come from its dataset's folder; without them nothing of a domain is said."""

import re
from collections import Counter
from datetime import UTC, datetime

import pytest

from zhiyin.landing.datasets import known_datasets
from zhiyin.language.sentences import MOST_ALIKE, PHRASES, Teller
from zhiyin.language.words import Wording, Words, read_words

FACTS = {
    "chosen_before": {"times": 6, "last_chosen": "2017-11-20", "usual_gap_days": 7, "gaps": 4},
    "similar_to_chosen": {"title": "Fargo (1996)", "last_chosen": "2017-11-20"},
    "same_kind": {"title": "Fargo (1996)", "times": 1, "last_chosen": "2017-11-20"},
    "favourite_category": {"category": "DRAMA", "count": 6, "of": 41, "itself": 1},
    "favourite_label": {"label": "Film-Noir", "count": 6, "of": 41, "itself": 1},
    "interest": {"titles": ["Fargo (1996)", "Heat (1995)"]},
    "people_alike": {"rank": 2},
    "on_promotion": {"reach": 0.35},
    "popular_now": {"users_28d": 120, "until": "2017-11-30"},
    "rule": {"action": "pin", "rule": "new films"},
    "unexplained": {},
}
GROCERIES = re.compile(r"\b(stores?|shops?|leaflet|mailer|household|grocer\w*|dollars?|bought|purchases?)\b", re.I)


def sentences(wording: Wording) -> dict[str, str]:
    assert set(FACTS) == set(PHRASES)
    return {kind: Teller(wording).tell([{"kind": kind, **fact}]) for kind, fact in FACTS.items()}


def every_phrase(wording: Wording) -> list[str]:
    return [phrase({"kind": kind, **fact}, wording) for kind, fact in FACTS.items() for phrase in PHRASES[kind]]


def test_reasons_of_films_hold_no_word_of_groceries() -> None:
    films = sentences(Wording.of(["rating"], read_words("movielens_100k").model_dump()))
    wording = Wording.of(["rating"], read_words("movielens_100k").model_dump())
    assert [text for text in every_phrase(wording) if GROCERIES.search(text)] == []
    assert films["similar_to_chosen"] == "Goes with Fargo (1996), which you rated on 20 November 2017."
    assert films["favourite_label"] == "6 of your last 41 ratings are film-noir."
    assert films["on_promotion"] == "On promotion."


def test_reasons_of_groceries_say_where_an_item_is_promoted() -> None:
    groceries = sentences(Wording.of(["purchase"], read_words("complete_journey").model_dump()))
    assert groceries["on_promotion"] == ("On display or in the leaflet this week in 35% of the stores that report it.")


def test_a_log_of_several_event_types_and_no_words_is_spoken_of_neutrally() -> None:
    neutral = sentences(Wording.of(["purchase", "view"]))
    assert [text for text in neutral.values() if GROCERIES.search(text)] == []
    assert neutral["chosen_before"] == ("You chose it 6 times, lately about every 7 days, last on 20 November 2017.")


def test_days_are_those_of_the_dataset_s_time_zone() -> None:
    wording = Wording.of(["purchase"], read_words("complete_journey").model_dump())
    assert wording.day(datetime(2017, 11, 20, 4, 59, tzinfo=UTC).timestamp()) == "2017-11-19"
    assert wording.day(datetime(2017, 11, 20, 5, 0, tzinfo=UTC).timestamp()) == "2017-11-20"
    assert Wording.of(["rating"]).day(datetime(2017, 11, 20, tzinfo=UTC).timestamp()) == "2017-11-20"


def test_a_sentence_says_no_thing_twice_and_a_list_no_phrase_over_and_over() -> None:
    teller = Teller(Wording.of(["purchase"]))
    again, goes, fits = (
        {"kind": "chosen_before", "times": 3, "last_chosen": "2017-11-20", "usual_gap_days": None},
        {"kind": "similar_to_chosen", "title": "Milk", "last_chosen": "2017-11-20"},
        {"kind": "interest", "titles": ["Bread"]},
    )
    facts = [[{**goes}, {**fits}, {**again, "times": 3 + place}] for place in range(10)]
    told = [teller.tell(each) for each in facts]
    said = [[fact["kind"] for fact in each if fact.get("said")] for each in facts]
    assert said[0] == ["similar_to_chosen", "chosen_before"]
    assert sum("Milk" in sentence for sentence in told) == MOST_ALIKE
    assert sum("Bread" in sentence for sentence in told) == MOST_ALIKE
    phrases = Counter(re.sub(r"\d+(th|rd)?", "#", phrase) for text in told for phrase in text.lower()[:-1].split("; "))
    assert max(phrases.values()) <= MOST_ALIKE

    itself = {"kind": "favourite_category", "category": "MILK", "count": 4, "of": 40, "itself": 3}
    both = [{**again}, itself]
    Teller(Wording.of(["purchase"])).tell(both)
    assert [fact.get("said") for fact in both] == [True, None]
    several = [{**again}, itself | {"itself": 1}]
    Teller(Wording.of(["purchase"])).tell(several)
    assert [fact.get("said") for fact in several] == [True, True]


def test_where_no_fact_raised_the_score_the_sentence_says_so() -> None:
    assert "many small signals" in Teller(Wording.of(["purchase"])).tell([])


def test_a_bundle_without_words_has_the_defaults() -> None:
    assert Wording.of(["rating"], None).words == Words()


def test_the_words_of_every_dataset_are_valid() -> None:
    for dataset in known_datasets():
        assert read_words(dataset).user


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("user = ", "not valid TOML"),
        ('usr = "viewer"', "usr"),
        ('currency = "dollars"', "currency"),
        ('timezone = "New York"', "no time zone 'New York'"),
        ('promotion = "in {stores} stores"', "only placeholder is {reach}"),
    ],
)
def test_invalid_words_are_refused_with_the_file_and_the_key(tmp_path, text: str, told: str) -> None:
    path = tmp_path / "words.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(told)) as refused:
        read_words("any", path)
    assert str(path) in str(refused.value)

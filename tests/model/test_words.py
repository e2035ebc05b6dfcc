"""A domain's words come from its dataset's folder; without them nothing of a domain is said."""

import re

import pytest

from zhiyin.landing.datasets import known_datasets
from zhiyin.language.words import Wording, Words, read_words
from zhiyin.recommender.explanation import SENTENCES, say

FACTS = {
    "chosen_before": {"times": 3, "last_chosen": "2017-11-20", "usual_gap_days": 7},
    "similar_to_chosen": {"title": "Fargo (1996)"},
    "favourite_category": {"category": "DRAMA", "share": 0.2},
    "favourite_label": {"label": "Film-Noir", "share": 0.3},
    "interest": {"rank": 2},
    "people_alike": {"rank": 2},
    "on_promotion": {"reach": 0.35},
    "popular_now": {"rank": 3, "users_28d": 120},
    "rule": {"action": "pin", "rule": "new films"},
}
GROCERIES = re.compile(r"\b(stores?|shops?|leaflet|mailer|household|grocer\w*|dollars?|bought|purchases?)\b", re.I)


def sentences(wording: Wording) -> dict[str, str]:
    assert set(FACTS) == set(SENTENCES)
    return {kind: say([{"kind": kind, **fact}], wording) or "" for kind, fact in FACTS.items()}


def test_reasons_of_films_hold_no_word_of_groceries() -> None:
    films = sentences(Wording.of(["rating"], read_words("movielens_100k").model_dump()))
    assert [text for text in films.values() if GROCERIES.search(text)] == []
    assert films["similar_to_chosen"] == "Goes with Fargo (1996), which you rated."
    assert films["on_promotion"] == "On promotion."


def test_reasons_of_groceries_say_where_an_item_is_promoted() -> None:
    groceries = sentences(Wording.of(["purchase"], read_words("complete_journey").model_dump()))
    assert groceries["on_promotion"] == "On display or in the leaflet of 35% of stores this week."


def test_a_log_of_several_event_types_and_no_words_is_spoken_of_neutrally() -> None:
    neutral = sentences(Wording.of(["purchase", "view"]))
    assert [text for text in neutral.values() if GROCERIES.search(text)] == []
    assert neutral["chosen_before"] == "You chose it 3 times, about every 7 days, last on 20 November 2017."


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
        ('promotion = "in {stores} stores"', "only placeholder is {reach}"),
    ],
)
def test_invalid_words_are_refused_with_the_file_and_the_key(tmp_path, text: str, told: str) -> None:
    path = tmp_path / "words.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(told)) as refused:
        read_words("any", path)
    assert str(path) in str(refused.value)

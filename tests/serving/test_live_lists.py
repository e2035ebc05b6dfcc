"""The list follows the user at once: what a user does over HTTP, and the list of the next second."""

import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.serving.running import Service, borrow, point, ready, serve
from zhiyin.recommender.recommender import Recommender

Events = list[dict[str, Any]]


@pytest.fixture(scope="module")
def live(slice_home: Any, champion: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that writes into an online store of its own."""
    settings = borrow(slice_home.settings, tmp_path_factory.mktemp("live"))
    settings.features.unlink()
    shutil.copytree(slice_home.settings.features, settings.features)
    point(settings, *champion)
    with serve(settings) as running:
        running.wait(lambda: ready(running), "a ready service")
        yield running


@pytest.fixture(scope="module")
def recommender(champion: tuple[Path, str]) -> Recommender:
    return Recommender.load(champion[0])


@pytest.fixture(scope="module")
def shoppers(live: Service) -> list[str]:
    return [str(user["user_id"]) for user in live.http.get("/page/users").json()["users"]]


def send(live: Service, user_id: str, events: Events) -> dict[str, Any]:
    response = live.http.post("/events", json={"user_id": user_id, "events": events})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    assert answer["missing"] == []
    return answer


def ids(live: Service, user_id: str, k: int = 10) -> list[str]:
    return [item["item_id"] for item in live.recommend(user_id=user_id, k=k)["items"]]


def purchases(items: list[str], at: datetime | None = None) -> Events:
    moment = {} if at is None else {"occurred_at": at.isoformat()}
    return [{"event_type": "purchase", "item_id": item, **moment} for item in items]


def of_category(recommender: Recommender, category: str) -> list[str]:
    """Its items, those with the most events first."""
    catalogue = recommender.catalogue
    code = catalogue.categories.index(category)
    places = [place for place, other in enumerate(catalogue.category) if other == code]
    places.sort(key=lambda place: -int(recommender.events[place]))
    return [catalogue.item_ids[place] for place in places]


def categories(recommender: Recommender, items: list[str]) -> Counter[str]:
    table = recommender.catalogue.table
    known = dict(zip(table["item_id"].to_pylist(), table["category"].to_pylist(), strict=True))
    return Counter(known[item] for item in items)


def category_like(recommender: Recommender, *words: str) -> str:
    """The category of most events whose name has one of the words."""
    named = [name for name in recommender.catalogue.categories if any(word in name.lower() for word in words)]
    return max(named, key=lambda name: sum(int(recommender.events[place]) for place in _places(recommender, name)))


def _places(recommender: Recommender, category: str) -> list[int]:
    code = recommender.catalogue.categories.index(category)
    return [place for place, other in enumerate(recommender.catalogue.category) if other == code]


def test_what_was_just_bought_leaves_the_top(live: Service, shoppers: list[str]) -> None:
    """A household that has just bought its whole top 8 is not told to buy it again."""
    left = []
    for shopper in shoppers[:5]:
        top = ids(live, shopper)[:8]
        send(live, shopper, purchases(top))
        left.append(len(set(top) & set(ids(live, shopper))))
    assert max(left) <= 4
    assert sum(left) <= 2 * len(left)


def test_the_reason_of_what_was_just_bought_says_so(
    live: Service, shoppers: list[str], recommender: Recommender
) -> None:
    """Count and date are those of the moment: what was bought a minute ago is not last bought in November."""
    shopper = shoppers[5]

    def times() -> dict[str, tuple[int, str]]:
        """How often and when last each listed item was bought, where that is a reason."""
        items = live.recommend(user_id=shopper, k=100, explain="text")["items"]
        facts = ((item["item_id"], fact) for item in items for fact in item["evidence"])
        chosen = {item_id: fact for item_id, fact in facts if fact["kind"] == "chosen_before"}
        return {item_id: (fact["times"], fact["last_chosen"]) for item_id, fact in chosen.items()}

    before = times()
    bought = list(before)[::2]
    send(live, shopper, purchases(bought, recommender.as_of + timedelta(hours=9)))
    after = times()
    today = recommender.as_of.date().isoformat()
    told = {item_id: after[item_id] for item_id in bought if item_id in after}  # of most it is no reason any more
    assert told == {item_id: (before[item_id][0] + 1, today) for item_id in told}


def test_four_baskets_of_a_category_bring_the_category(
    live: Service, shoppers: list[str], recommender: Recommender
) -> None:
    category = category_like(recommender, "dog", "cat food", "pet")
    food = of_category(recommender, category)[:8]
    brought = []
    for shopper in shoppers[6:10]:
        for basket in range(4):
            send(live, shopper, purchases(food[2 * basket : 2 * basket + 2]))
        brought.append(categories(recommender, ids(live, shopper, 50))[category])
    assert min(brought) >= 1
    assert sum(brought) >= 3 * len(brought)


def test_someone_new_has_a_list_about_what_they_did(live: Service, recommender: Recommender) -> None:
    category = category_like(recommender, "baby")
    popular = ids(live, "nobody at all")
    send(live, "a new parent", purchases(of_category(recommender, category)[:5]))
    answer = live.recommend(user_id="a new parent", k=10)
    assert answer["missing"] == []
    found = [item["item_id"] for item in answer["items"]]
    assert categories(recommender, found)[category] >= 2
    assert not set(popular[:2]) & set(found[:2])


def test_a_view_and_a_search_count_though_the_log_has_none(live: Service, recommender: Recommender) -> None:
    category = category_like(recommender, "baby")
    words = recommender.catalogue.table["title"][_places(recommender, category)[0]].as_py()
    views = [{"event_type": "view", "item_id": item} for item in of_category(recommender, category)[:3]]
    for user, events in (("a looker", views), ("a seeker", [{"event_type": "search", "query_text": words}])):
        before = ids(live, user, 20)
        assert send(live, user, events)["without_effect"] == []
        answer = live.recommend(user_id=user, k=20)
        assert "unknown_user" not in answer["missing"]
        after = [item["item_id"] for item in answer["items"]]
        assert categories(recommender, after)[category] > categories(recommender, before)[category]


@pytest.mark.parametrize("kind", ["dismiss", "remove"])
def test_what_was_refused_is_gone_at_once(live: Service, shoppers: list[str], kind: str) -> None:
    shopper = shoppers[10]
    top = ids(live, shopper)[0]
    send(live, shopper, [{"event_type": kind, "item_id": top}])
    assert top not in ids(live, shopper, 100)


def test_what_will_have_no_effect_is_said(live: Service, shoppers: list[str], recommender: Recommender) -> None:
    item = recommender.catalogue.item_ids[0]
    early = {"event_type": "purchase", "item_id": item, "event_id": "early"}
    early["occurred_at"] = (recommender.as_of - timedelta(days=1)).isoformat()
    unknown = {"event_type": "purchase", "item_id": "no such item", "event_id": "strange"}
    answer = send(live, shoppers[11], [early, unknown, *purchases([item])])
    assert answer["without_effect"] == [
        {"event_id": "early", "reason": "before_state"},
        {"event_id": "strange", "reason": "unknown_item"},
    ]


def test_the_clock_of_a_replayed_log_goes_on_from_its_state(live: Service, recommender: Recommender) -> None:
    answer = send(live, "somebody on time", purchases([recommender.catalogue.item_ids[0]]))
    clock = datetime.fromisoformat(answer["clock"])
    assert recommender.as_of <= clock < recommender.as_of + timedelta(days=2)
    later = datetime.fromisoformat(send(live, "somebody on time", purchases(["x"]))["clock"])
    assert later >= clock

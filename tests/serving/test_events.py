"""What the application developer is promised of ``POST /events``."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

import feature_repo
from bento import events
from bento.clock import ServiceClock
from bento.durable_log import DurableLog
from tests.serving.running import Service, borrow, point, ready, serve
from zhiyin.clock import Clock
from zhiyin.landing import land_table, raw_tables
from zhiyin.recommender.recommender import Recommender
from zhiyin.recommender.state.session import with_session


@pytest.fixture(scope="module")
def live(slice_home: Any, champion: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that writes into an online store of its own."""
    settings = borrow(slice_home.settings, tmp_path_factory.mktemp("events"))
    features = settings.features
    features.unlink()
    shutil.copytree(slice_home.settings.features, features)
    point(settings, *champion)
    with serve(settings) as running:
        running.wait(lambda: ready(running), "a ready service")
        yield running


@pytest.fixture(scope="module")
def bought(champion: tuple[Path, str]) -> list[str]:
    """Items of one category, in the middle of the catalogue."""
    catalogue = Recommender.load(champion[0]).catalogue
    code = catalogue.category[len(catalogue) // 2]
    return [item for item, other in zip(catalogue.item_ids, catalogue.category, strict=True) if other == code][:6]


def send(live: Service, user_id: str, *noun: dict[str, Any]) -> dict[str, Any]:
    response = live.http.post("/events", json={"user_id": user_id, "events": list(noun)})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def purchases(items: list[str], at: datetime | None = None) -> list[dict[str, Any]]:
    moment = {} if at is None else {"occurred_at": at.isoformat()}
    return [{"event_type": "purchase", "item_id": item, **moment} for item in items]


def log(live: Service) -> list[dict[str, Any]]:
    files = sorted((live.settings.feedback / "events").glob("day=*/*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def ids(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def test_a_list_follows_an_event_and_is_the_recommenders_own(
    live: Service, shopper: str, champion: tuple[Path, str], bought: list[str]
) -> None:
    recommender = Recommender.load(champion[0])
    before = live.recommend(user_id=shopper, k=20)
    moment = recommender.as_of + timedelta(hours=10)
    answer = send(live, shopper, *purchases(bought, moment))
    assert (answer["accepted"], answer["missing"]) == (len(bought), [])
    after = live.recommend(user_id=shopper, k=20)
    assert after["missing"] == []
    assert ids(after) != ids(before)

    state = feature_repo.OnlineStates(live.settings).user(live.pseudonym(shopper))
    assert state is not None
    session = feature_repo.Sessions(live.settings).latest(live.pseudonym(shopper))
    assert session is not None
    assert session["session_item_ids"] == sorted(bought)
    slate = recommender.recommend([with_session(state, session)], k=20)[0]
    assert ids(after) == [item.item_id for item in slate.items]


def test_what_belongs_to_no_item_is_kept_and_said(live: Service, bought: list[str]) -> None:
    before = ids(live.recommend(user_id="a watcher"))
    sent = [{"event_type": "purchase", "item_id": "no such item"}, {"event_type": "search", "query_text": "zzzz"}]
    answer = send(live, "a watcher", *sent)
    assert [told["reason"] for told in answer["without_effect"]] == ["unknown_item"]
    assert ids(live.recommend(user_id="a watcher")) == before
    kept = [line for line in log(live) if line["user_id"] == live.pseudonym("a watcher")]
    assert [(line["event_type"], line["item_id"], line["query_text"]) for line in kept] == [
        ("purchase", "no such item", None),
        ("search", None, "zzzz"),
    ]


def test_an_acknowledged_event_is_on_disk_under_the_pseudonym(live: Service, bought: list[str]) -> None:
    raw = "a raw id that must not be written"
    moment = datetime(2017, 12, 1, 9, 30, tzinfo=UTC)
    event = {"item_id": bought[0], "event_type": "cart", "value": 2, "request_id": "abc", "event_id": "mine"}
    answer = send(live, raw, event | {"occurred_at": "2017-12-01T10:30:00+01:00", "amount": 1.5})
    assert answer["event_ids"] == ["mine"]
    (line,) = (line for line in log(live) if line["event_id"] == "mine")
    assert (line["user_id"], line["request_id"], line["amount"]) == (live.pseudonym(raw), "abc", 1.5)
    assert datetime.fromisoformat(line["occurred_at"]) == moment
    assert datetime.fromisoformat(line["ingested_at"]) <= datetime.now(UTC)
    written = [path for path in live.settings.feedback.rglob("*") if path.is_file()]
    assert not any(raw.encode() in path.read_bytes() for path in [*written, live.log])


def test_the_next_run_lands_what_its_log_learns_from(live: Service, bought: list[str]) -> None:
    moment = datetime(2017, 12, 1, 9, 30, tzinfo=UTC)
    view = {"event_type": "view", "item_id": bought[0], "event_id": "looked", "occurred_at": moment.isoformat()}
    (event,) = purchases(bought[:1], moment)
    send(live, "a regular", view, event | {"event_id": "took", "value": 2})
    posted = raw_tables(live.settings)[-1]
    land_table(posted, live.settings, Clock.parse("2017-12-02"))
    landed = duckdb.execute(
        "select event_id, user_id, item_id, value, occurred_at::varchar"
        f" from '{live.settings.lake}/posted_events/*/part-0.parquet' where event_id in ('looked', 'took')"
    ).fetchall()
    assert landed == [("took", live.pseudonym("a regular"), bought[0], 2.0, "2017-12-01 09:30:00+00")]


@pytest.mark.parametrize(
    ("body", "field", "told"),
    [
        ('{"events": [{"event_type": "view", "item_id": "1"}]}', "user_id", "in POST /recommend"),
        ('{"user_id": "1", "events": []}', "events", "at least 1 item"),
        ('{"user_id": "1", "events": [{"event_type": "view"}]}', "events.0", "a view needs item_id"),
        ('{"user_id": "1", "events": [{"event_type": "search", "item_id": "1"}]}', "events.0", "needs query_text"),
        ('{"user_id": "1", "events": [{"event_type": "rating", "item_id": "1"}]}', "events.0", "needs value"),
        (
            '{"user_id": "1", "events": [{"event_type": "purchase", "item_id": "1", "value": null}]}',
            "events.0",
            "value is empty",
        ),
        ('{"user_id": "1", "events": [{"event_type": "buy", "item_id": "1"}]}', "events.0.event_type", "'purchase'"),
        ('{"user_id": "1", "events": [{"event_type": "view", "item": "1"}]}', "events.0.item", "item_id"),
        (
            '{"user_id": "1", "events": [{"event_type": "view", "item_id": "1", "occurred_at": "2017-12-01T10:00"}]}',
            "events.0.occurred_at",
            "with a time zone",
        ),
        (
            '{"user_id": "1", "events": [{"event_type": "view", "item_id": "1", "occurred_at": "2999-01-01T00:00Z"}]}',
            "events.0.occurred_at",
            "is in the future",
        ),
        (
            '{"user_id": "1", "events": [{"event_type": "purchase", "item_id": "1", "amount": 99999999999}]}',
            "events.0.amount",
            "up to 100,000,000",
        ),
        (
            '{"user_id": "1", "events": [{"event_type": "purchase", "item_id": "1", "value": 1e300}]}',
            "events.0.value",
            "up to 1,000,000",
        ),
        (
            '{"user_id": "1", "events": [{"event_type": "view", "item_id": "a\\u0000b"}]}',
            "events.0.item_id",
            "control characters",
        ),
        (
            '{"user_id": "1", "events": [{"event_type": "view", "item_id": "1", "occurred_at": "0001-01-01T00:00Z"}]}',
            "events.0.occurred_at",
            "before 1970",
        ),
        ("[", "body", "JSON"),
    ],
)
def test_a_wrong_body_is_refused_whole_with_the_field_and_the_cure(
    live: Service, body: str, field: str, told: str
) -> None:
    before = len(log(live))
    response = live.http.post("/events", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert field in [problem["field"] for problem in response.json()["problems"]]
    assert told in response.json()["error"]
    assert len(log(live)) == before


def test_other_methods_and_bodies_too_large_are_refused(live: Service) -> None:
    assert live.http.get("/events").status_code == 405
    assert live.http.post("/events", content=b" " * 300_000).status_code == 413


def test_events_that_cannot_be_written_are_not_acknowledged_and_not_followed(tmp_path: Path) -> None:
    """Law 9."""
    (tmp_path / "events").write_text("a file where the folder should be, as good as a full disk")
    pushed: list[Any] = []
    app = Starlette(routes=[Route("/events", events.post, methods=["POST"])])
    app.state.service = SimpleNamespace(
        key=b"key",
        events=DurableLog(tmp_path / "events"),
        champions=SimpleNamespace(current=None),
        live=SimpleNamespace(push=pushed.append),
        clock=ServiceClock(),
    )
    body = {"user_id": "1", "events": purchases(["a"])}
    answer = TestClient(app).post("/events", json=body)
    assert answer.status_code == 503
    assert "Send them again" in answer.json()["error"]
    assert answer.headers["retry-after"]
    assert not pushed


def test_without_the_store_events_are_kept_and_lists_are_good(live: Service, shopper: str, bought: list[str]) -> None:
    """Law 8. Last: it takes the store away."""
    features = live.settings.features
    features.rename(features.with_name("elsewhere"))
    before = len(log(live))
    answer = send(live, shopper, *purchases(bought[:1]))
    assert answer["missing"] == ["session_not_updated"]
    assert len(log(live)) == before + 1
    answer = live.recommend(user_id=shopper)
    assert answer["missing"] == ["user_state_unavailable"]
    assert len(answer["items"]) == 10
    features.with_name("elsewhere").rename(features)
    assert send(live, shopper, *purchases(bought[:1]))["missing"] == []
    assert live.recommend(user_id=shopper)["missing"] == []

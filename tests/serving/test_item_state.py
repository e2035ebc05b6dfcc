"""Item state is published apart from the models: what a run writes, what the service follows, what it refuses."""

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from bento import champion as served
from bento.champion import ChampionWatch
from pipeline.steps import publish_items as step
from tests.model.checkerboard import CLOCK, NOW, events, home_of, item_rows
from tests.promotions import decided
from tests.serving.later import DAY, publish_later
from tests.serving.running import point
from training.train import refit, train
from zhiyin import registry
from zhiyin.recommender.recommender import Recommender
from zhiyin.recommender.state.item_state import KEPT, current_version, publish_items, read_items, with_published_items
from zhiyin.settings import Settings

ROWS = item_rows(events())


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Path]:
    """A home of the checkerboard with the bundle that is fitted to the last day."""
    settings, marts, states = home_of(tmp_path_factory.mktemp("items"), events())
    judged = train(settings, CLOCK, marts, states)
    return settings, refit(settings, CLOCK, marts, states, judged.name)


@pytest.fixture
def home(fitted: tuple[Settings, Path], tmp_path: Path) -> tuple[Settings, Path]:
    """Another home with that bundle, in which nothing is published."""
    settings = Settings(home=tmp_path, threads=1)  # type: ignore[call-arg]
    bundle = shutil.copytree(fitted[1], settings.bundles / fitted[1].name)
    return settings, bundle


def only_popular(item: str) -> Any:
    """Edit rows: the people of the last days took one item alone."""

    def edit(rows: pa.Table) -> pa.Table:
        chosen = pc.equal(rows["item_id"], item)
        for name in ("events_7d", "events_28d", "events_90d", "users_28d", "users_90d"):
            place, kind = rows.column_names.index(name), rows.schema.field(name).type
            rows = rows.set_column(place, name, pc.cast(pc.if_else(chosen, 1000, 0), kind))
        return rows

    return edit


def unavailable(item: str) -> Any:
    return lambda rows: rows.append_column("available", pc.not_equal(rows["item_id"], item))


def first_of(recommender: Recommender) -> str:
    """What somebody unknown is shown first."""
    return recommender.recommend([{"user_id": "nobody"}], k=1)[0].items[0].item_id


def test_a_version_is_named_by_its_content_and_the_latest_ones_are_kept(home: tuple[Settings, Path]) -> None:
    settings, _ = home
    assert current_version(settings) is None
    version = publish_later(settings, ROWS, NOW)
    assert current_version(settings) == version.name
    assert publish_later(settings, ROWS, NOW) == version
    for day in range(1, KEPT + 2):
        publish_later(settings, ROWS, NOW + day * DAY)
    kept = sorted(path.name for path in settings.item_state.iterdir() if path.is_dir())
    assert len(kept) == KEPT
    assert kept[-1] == current_version(settings)
    again = publish_later(settings, ROWS, NOW)  # an earlier day, run again: it stays although it is the oldest
    assert read_items(settings, again.name).at == NOW
    with pytest.raises(FileNotFoundError, match="run the step features first"):
        publish_items(settings, type(CLOCK)(NOW + 90 * DAY))


def test_a_run_whose_challenger_is_refused_moves_the_item_state(home: tuple[Settings, Path]) -> None:
    settings, bundle = home
    point(settings, bundle, bundle.name)
    publish_later(settings, ROWS, NOW)
    tomorrow = type(CLOCK)(NOW + DAY)
    later = publish_later(settings, ROWS, tomorrow.as_of)
    publish_later(settings, ROWS, NOW)
    registry.record_decision(settings, tomorrow, decided(settings, "a challenger", passed=False))
    assert step(settings, tomorrow) == later
    assert current_version(settings) == later.name
    now = registry.champion(settings)
    assert now is not None
    assert now["digest"] == bundle.name


def test_lists_are_made_from_the_published_state_unless_it_is_older(home: tuple[Settings, Path]) -> None:
    settings, bundle = home
    recommender = Recommender.load(bundle)
    before = first_of(recommender)
    other = next(item for item in recommender.catalogue.item_ids if item != before)

    newer = read_items(settings, publish_later(settings, ROWS, NOW + DAY, only_popular(other)).name)
    following = with_published_items(recommender, newer)
    assert following.as_of == NOW + DAY
    assert first_of(following) == other

    without = read_items(settings, publish_later(settings, ROWS, NOW + 2 * DAY, unavailable(before)).name)
    (slate,) = with_published_items(recommender, without).recommend([{"user_id": "nobody"}], k=12)
    assert slate.items
    assert before not in {item.item_id for item in slate.items}

    older = read_items(settings, publish_later(settings, ROWS, NOW - DAY, only_popular(other)).name)
    assert with_published_items(recommender, older) is recommender
    assert with_published_items(recommender, None) is recommender


def test_a_column_that_the_marts_no_longer_have_is_unknown(home: tuple[Settings, Path]) -> None:
    settings, bundle = home
    recommender = Recommender.load(bundle)
    version = publish_later(settings, ROWS, NOW + DAY, lambda rows: rows.drop_columns(["promoted"]))
    following = with_published_items(recommender, read_items(settings, version.name))
    assert np.isnan(following.item_state.columns["promoted"]).all()
    assert following.recommend([{"user_id": "nobody"}], k=3)[0].items


def test_a_running_service_follows_the_pointer_and_keeps_the_state_before_a_broken_one(
    home: tuple[Settings, Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings, bundle = home
    point(settings, bundle, bundle.name)
    watch = ChampionWatch(settings, lambda _: None)

    def look() -> Recommender:
        watch.look()
        assert watch.current is not None
        return watch.current.recommender

    assert look().as_of == NOW  # nothing is published: the bundle's own
    other = next(item for item in look().catalogue.item_ids if item != first_of(look()))
    publish_later(settings, ROWS, NOW + DAY, only_popular(other))
    assert look().as_of == NOW + DAY
    assert first_of(look()) == other
    assert look() is look()

    # A half-written version, as an interrupted copy leaves it.
    monkeypatch.setattr("bento.items.RETRY_SECONDS", 0.0)
    broken = publish_later(settings, ROWS, NOW + 2 * DAY)
    whole = (broken / "items.arrow").read_bytes()
    (broken / "items.arrow").write_bytes(whole[: len(whole) // 2])
    with caplog.at_level(logging.ERROR, "bentoml.zhiyin"):
        assert look().as_of == NOW + DAY
        assert look().as_of == NOW + DAY
    assert sum("refused" in message for message in caplog.messages) == 1
    (broken / "items.arrow").write_bytes(whole)
    assert look().as_of == NOW + 2 * DAY

    # One of which no list can be made.
    publish_later(settings, ROWS, NOW + 3 * DAY)
    with monkeypatch.context() as patch:
        patch.setattr(served, "with_published_items", lambda *_: 1 / 0)
        assert look().as_of == NOW + 2 * DAY
    # An older state than the champion's: its own stands again.
    publish_later(settings, ROWS, NOW - DAY)
    assert look().as_of == NOW


def test_a_new_champion_is_loaded_with_the_published_state_and_whatever_that_is_worth(
    home: tuple[Settings, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, bundle = home
    point(settings, bundle, bundle.name)
    publish_later(settings, ROWS, NOW + DAY)
    watch = ChampionWatch(settings, lambda _: None)
    watch.look()
    assert watch.current is not None
    assert watch.current.recommender.as_of == NOW + DAY
    assert watch.current.bundled.as_of == NOW

    monkeypatch.setattr(served, "with_published_items", lambda *_: 1 / 0)
    watch = ChampionWatch(settings, lambda _: None)
    watch.look()
    assert watch.current is not None
    assert watch.current.recommender.as_of == NOW

"""The review of a run: a planted change is found and nothing else, every report is there, again means the same."""

import json
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from evidently.ui.workspace import Workspace

from monitoring import evidence, frames, report
from tests.monitoring.homes import AS_OF, ITEMS, USERS, Build, interactions, states
from zhiyin.clock import Clock
from zhiyin.settings import PROJECT, Settings
from zhiyin.warehouse import current

REPORTS = {f"{name}_{kind}" for name in ("interactions", "users", "items") for kind in ("quality", "drift")}


@pytest.fixture(scope="module")
def reviewed(build: Build) -> tuple[Settings, dict[str, Path]]:
    settings = build()
    return settings, report(settings, AS_OF)


def summary_of(paths: dict[str, Path]) -> dict[str, Any]:
    return dict(json.loads(paths["summary"].read_text()))


def runs(settings: Settings) -> list[str]:
    workspace = Workspace(str(settings.evidently))
    (project,) = workspace.list_projects()
    assert project.name == settings.dataset
    return sorted(str(run) for run in workspace.list_runs(project.id))


def test_every_report_is_written_and_linked(reviewed: tuple[Settings, dict[str, Path]]) -> None:
    settings, paths = reviewed
    assert set(paths) == REPORTS | {"index", "summary"}
    page = paths["index"].read_text()
    links = re.findall(r'href="([^"]+)"', page)
    assert set(links) == {f"{name}.html" for name in REPORTS}
    assert all((settings.reports / AS_OF.date / link).stat().st_size > 10_000 for link in links)
    assert not re.search(r"(src|href)=\"(https?:)?//", page)  # complete in itself


def test_the_planted_change_is_found_and_nothing_else(reviewed: tuple[Settings, dict[str, Path]]) -> None:
    drift = summary_of(reviewed[1])["drift"]
    drifted = {name: {entry["column"] for entry in entries if entry["drifted"]} for name, entries in drift.items()}
    assert drifted == {"interactions": {"amount", "unit_price"}, "users": set(), "items": set()}
    assert {entry["method"] for entries in drift.values() for entry in entries} == {"wasserstein", "jensenshannon"}


def test_what_was_set_aside_is_counted_by_reason_and_week(reviewed: tuple[Settings, dict[str, Path]]) -> None:
    assert summary_of(reviewed[1])["quarantined"] == {
        "item unknown": [0, 0, 0, 0, 0, 0, 0, 21],
        "user missing": [0, 0, 0, 1, 0, 0, 0, 0],
    }
    page = reviewed[1]["index"].read_text()
    assert "item unknown" in page
    assert "amount negative" not in page


def test_columns_take_part_by_their_type(reviewed: tuple[Settings, dict[str, Path]]) -> None:
    summary = summary_of(reviewed[1])
    assert {entry["column"] for entry in summary["drift"]["users"]} == {
        "spend",
        "kind",
        "known",
        "last_at_age_days",
        "scores_mean",
        "ids_length",
        "seen_at_mean_age_days",
    }
    assert summary["left_out"]["users"] == {"unused": "empty", "title": "more than 100 values"}


def test_a_new_feature_is_watched_without_an_edit(build: Build) -> None:
    loyalty = pa.array(np.random.default_rng(3).normal(5.0, 1.0, USERS))
    settings = build(users=states("user_id", USERS, loyalty=loyalty))
    data = frames.states(settings, AS_OF, settings.states / AS_OF.date / "users.parquet")
    found = {entry["column"]: entry["drifted"] for entry in evidence.drifted_columns(evidence.drift(AS_OF, data))}
    assert found["loyalty"] is True
    assert sum(found.values()) == 1


def test_a_label_that_fades_from_the_events_is_found(build: Build) -> None:
    table = interactions()
    late = np.asarray(
        pc.greater_equal(table["occurred_at"], pa.scalar(AS_OF.as_of.replace(tzinfo=None) - frames.WINDOW))
    )
    even = [f"i{2 * (row % (ITEMS // 2))}" for row in range(table.num_rows)]
    items = np.where(late, even, table["item_id"].to_pylist())
    table = table.set_column(table.column_names.index("item_id"), "item_id", pa.array(items.tolist()))
    settings = build(events=table)
    data = frames.interactions(settings, AS_OF, current(settings))
    found = {entry["column"]: entry["drifted"] for entry in evidence.drifted_columns(evidence.drift(AS_OF, data))}
    assert found["label label 0"] is True
    assert found["label label 1"] is True
    assert found["label label 2"] is False


def test_volumes_count_the_whole_windows_and_their_edges(build: Build) -> None:
    table = interactions(per_day=3)
    end = AS_OF.as_of.replace(tzinfo=None)
    edges = [end - timedelta(days=56, microseconds=1), end - timedelta(days=56), end - timedelta(days=28)]
    extra = table.slice(0, 3).set_column(
        table.column_names.index("occurred_at"), "occurred_at", pa.array(edges, pa.timestamp("us"))
    )
    settings = build(events=pa.concat_tables([table, extra]))
    volumes = frames.volumes(settings, AS_OF, current(settings))
    assert volumes["events"] == {"current": 28 * 3 + 1, "reference": 28 * 3 + 1}


def test_baskets_are_of_what_users_took_and_money_is_of_purchases(build: Build) -> None:
    table = interactions(per_day=3)
    kinds = ["purchase", "view", "rating"] * 56
    mixed = table.set_column(table.column_names.index("event_type"), "event_type", pa.array(kinds))
    mixed = mixed.set_column(mixed.column_names.index("basket_id"), "basket_id", pa.nulls(len(table), pa.string()))
    settings = build(events=mixed)
    volumes = frames.volumes(settings, AS_OF, current(settings))
    assert [volumes[name]["current"] for name in ("events", "baskets")] == [84, 56]
    assert volumes["amount"]["current"] == pytest.approx(sum(table["amount"].to_pylist()[:84:3]), abs=0.01)


def test_samples_are_the_same_rows_whatever_the_order_of_the_file(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "ROWS", 50)
    table = interactions()
    shuffled = table.take(np.random.default_rng(5).permutation(table.num_rows))
    first, second = (build(events=events) for events in (table, shuffled))
    samples = [frames.interactions(settings, AS_OF, current(settings)) for settings in (first, second)]
    assert len(samples[0].current) == len(samples[0].reference) == 50
    assert samples[0].current.equals(samples[1].current)
    assert samples[0].reference.equals(samples[1].reference)
    other = frames.interactions(first.model_copy(update={"seed": 1}), AS_OF, current(first))
    assert not other.current.equals(samples[0].current)


def test_made_again_a_review_takes_the_place_of_the_first(reviewed: tuple[Settings, dict[str, Path]]) -> None:
    settings, paths = reviewed
    before, summary = runs(settings), paths["summary"].read_text()
    assert len(before) == len(REPORTS)
    assert report(settings, AS_OF) == paths
    assert runs(settings) == before
    assert paths["summary"].read_text() == summary


def test_without_an_earlier_window_there_is_quality_and_no_drift(build: Build) -> None:
    settings = build(events=interactions(days=20, per_day=10))
    data = frames.interactions(settings, AS_OF, current(settings))
    assert not data.has_reference
    assert evidence.quality(AS_OF, data).dict()["metrics"]
    paths = report(settings, AS_OF)
    assert "interactions_drift" not in paths
    assert "interactions_quality" in paths
    assert "nothing before" in paths["index"].read_text()


def test_the_run_and_its_marts_must_stand_at_one_moment(build: Build) -> None:
    settings = build()
    with pytest.raises(ValueError, match="is as of 2024-03-01, the review as of 2024-03-02"):
        report(settings, Clock(AS_OF.as_of + timedelta(days=1)))
    for file in (settings.states / AS_OF.date).iterdir():
        file.unlink()
    (settings.states / AS_OF.date).rmdir()
    with pytest.raises(FileNotFoundError, match="read the features as of 2024-03-01"):
        report(settings, AS_OF)


def test_the_state_at_as_of_is_what_is_compared(build: Build) -> None:
    settings = build()
    data = frames.states(settings, AS_OF, settings.states / AS_OF.date / "items.parquet")
    assert len(data.current) == len(data.reference) == ITEMS
    table = states("item_id", ITEMS)
    at_as_of = table.filter(pc.equal(table["feature_at"], pa.scalar(AS_OF.as_of)))
    assert sorted(data.current["spend"]) == sorted(at_as_of["spend"].to_pylist())


def test_nothing_is_told_to_the_makers_of_evidently() -> None:
    code = "import monitoring; from evidently.telemetry import event_logger; assert not event_logger.enabled()"
    environment = {name: value for name, value in os.environ.items() if name != "DO_NOT_TRACK"}
    subprocess.run([sys.executable, "-c", code], env=environment, cwd=PROJECT, check=True)

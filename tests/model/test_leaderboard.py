"""Training and its evaluation on the checkerboard: the report says of lists, slices and page what the files hold."""

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipeline.reports import RunReports
from tests.model.checkerboard import CLOCK, NOW, events, home_of
from training.evaluation import evaluate
from training.evaluation.gate import PLAIN, WHOLE
from training.evaluation.guardrails import slice_values
from training.evaluation.leaderboard import differences
from training.train import train
from zhiyin.recommender.recipe import read_recipe

LATE = NOW - timedelta(days=12)  # before it nobody has item 4, and user 7 does nothing


@pytest.fixture(scope="module")
def small_home(tmp_path_factory):
    """Marts and states of the checkerboard."""
    rows = [row for row in events() if row[3] >= LATE or (row[1] != "i004" and row[0] != "u07")]
    return home_of(tmp_path_factory.mktemp("leaderboard"), rows), rows


@pytest.fixture(scope="module")
def judged(small_home):
    """The report, the folder of its files, the log, and the curves that training recorded."""
    (settings, marts, states), rows = small_home
    curves = []
    bundle = train(settings, CLOCK, marts, states, record=lambda *point: curves.append(point))
    report = RunReports.of(settings, CLOCK).write_leaderboard(evaluate(settings, CLOCK, marts, states, bundle))
    return report, settings.reports / CLOCK.date, rows, curves


def test_training_records_the_loss_of_every_encoder_and_the_ranker_by_tree(judged):
    for curve in (
        f"{CLOCK.judged_cuts[-1]:%Y-%m-%d}/encoder loss",
        "served/encoder loss",
        "ranker NDCG of its training set",
    ):
        points = [point[1:] for point in judged[3] if point[0] == curve]
        assert points, curve
        assert all(np.isfinite(value) for _, value in points)
    assert points[-1][0] == read_recipe("complete_journey").ranker["trees"]


def test_figures_at_every_cutoff_are_those_of_the_lists_that_were_written(judged):
    report = judged[0]
    lists = pq.read_table(report["lists_file"]).to_pylist()
    truth = pq.read_table(report["truth_file"]).to_pylist()
    for k in (5, 10):
        gains = []
        for user in {row["user_id"] for row in truth}:
            wanted = {row["item_id"] for row in truth if row["user_id"] == user}
            mine = [row for row in lists if row["user_id"] == user and row["rank"] <= k]
            gain = sum(1 / np.log2(row["rank"] + 1) for row in mine if row["item_id"] in wanted)
            gains.append(gain / sum(1 / np.log2(place + 2) for place in range(min(k, len(wanted)))))
        assert report["models"]["zhiyin"][f"ndcg@{k}"]["mean"] == pytest.approx(np.mean(gains))
    for figures in report["models"].values():
        assert {f"{metric}@{k}" for metric in ("ndcg", "map", "f1") for k in (5, 10, 20)} <= set(figures)
        assert 0 <= figures["miscalibration"]["mean"] < 5


def test_slices_hold_who_and_what_was_new_at_the_start_of_the_window(judged):
    report, _, rows, _ = judged
    truth = pq.read_table(report["truth_file"])
    slices = report["slices"]
    known = {row[0] for row in rows if row[3] < CLOCK.evaluation_cut - timedelta(days=28)}
    answered = set(pc.unique(truth["user_id"]).to_pylist())
    assert slices["new users"]["users"] == len(answered - known)
    late = {row[1] for row in rows} - {row[1] for row in rows if row[3] < CLOCK.evaluation_cut - timedelta(days=28)}
    assert slices["new items"]["answer_share"] == pytest.approx(
        pc.sum(pc.is_in(truth["item_id"], value_set=pa.array(sorted(late)))).as_py() / truth.num_rows
    )
    halves = [slices["category sweet"]["answer_share"], slices["category salty"]["answer_share"]]
    assert sum(halves) == pytest.approx(1)
    assert set(slices["heavy users"]["models"]) == set(report["models"])


def test_the_gate_reads_every_slice_as_the_leaderboard_shows_it(judged):
    """From the files of users, lists and truth alone, since a champion is read by its challenger's slices."""
    report = judged[0]
    values = slice_values(report, report)
    assert values.keys() == {name for name, facts in report["slices"].items() if facts["users"]}
    for name, (ours, theirs) in values.items():
        np.testing.assert_array_equal(ours, theirs)
        facts = report["slices"][name]
        assert np.sum(~np.isnan(ours)) == facts["users"]
        assert np.nanmean(ours) == pytest.approx(facts["models"]["zhiyin"]["mean"])


def test_the_encoders_are_kept_beside_their_bundle(judged):
    report, folder, *_ = judged
    assert (folder.parent.parent / "encoders" / report["bundle"] / "manifest.json").is_file()


def test_the_page_shows_every_model_and_slice(judged):
    report, folder, *_ = judged
    (page,) = folder.glob("leaderboard-*.html")
    text = page.read_text()
    for name in [*report["slices"], *(model.replace("_", " ") for model in report["models"])]:
        assert name in text
    assert "Miscalibration" in text


def test_baselines_are_compared_with_lists_that_keep_no_place_either():
    kept, plain, other = np.full(9, 0.2), np.full(9, 0.4), np.full(9, 0.3)
    found = differences({WHOLE: kept, PLAIN: plain, "popularity": other})
    assert found["popularity"]["mean"] == pytest.approx(0.1)
    assert found[PLAIN]["mean"] == pytest.approx(-0.2)
    assert differences({WHOLE: kept, "popularity": other})["popularity"]["mean"] == pytest.approx(-0.1)

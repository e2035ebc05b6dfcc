"""What a newcomer does: bring the platform up, look at it, bring it up again, meet a failure. On a real slice."""

import json
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest

from cli.environment import tool
from pipeline.steps import IN_ORDER
from tests.conftest import AS_OF, Slice
from zhiyin import registry
from zhiyin.clock import Clock
from zhiyin.recommender.recommender import Recommender
from zhiyin.store import read_json, verify_manifest


def test_the_first_run_shows_every_task_and_ends_with_a_list_and_where_to_look(slice_home):
    lines = slice_home.printed.splitlines()
    done = {line.split()[-1] for line in lines if line.split()[:1] == ["success"]}
    assert {step.__name__ for step in IN_ORDER} - {"build"} <= done
    assert any(task.startswith("dbt.") and "interactions" in task for task in done)
    settings = slice_home.settings
    for port in (settings.airflow_port, settings.service_port, settings.reports_port):
        assert f"http://127.0.0.1:{port}" in slice_home.printed
    assert "curl -s" in slice_home.printed
    assert "rank" in slice_home.printed


def test_everything_has_stopped_and_the_champion_stays(slice_home):
    facts = json.loads(slice_home.zhiyin("status", "--json").stdout)
    assert {server["state"] for server in facts["servers"].values()} == {"down"}
    champion = registry.champion(slice_home.settings)
    assert champion is not None
    assert facts["champion"]["digest"] == champion["digest"]
    assert facts["hold"] == []
    assert facts["last_decision"]["promote"] is True
    assert f"champion: {champion['digest'][:12]}, promoted as of {AS_OF}" in slice_home.zhiyin("status").stdout
    assert verify_manifest(slice_home.settings.bundles / champion["digest"])["digest"] == champion["digest"]


def test_the_same_inputs_give_the_same_bundle(slice_home):
    """Law 1."""
    clock = Clock.parse(AS_OF)
    before = registry.challenger(slice_home.settings, clock)
    slice_home.zhiyin("step", "train", "--as-of", AS_OF)
    assert registry.challenger(slice_home.settings, clock) == before


def test_the_terminal_shows_the_list_that_the_champion_makes(slice_home):
    """Law 5, seen from the shell: online row and pseudonym in, the same list out as from the offline state."""
    settings = slice_home.settings
    champion = registry.champion(settings)
    lake = sorted((settings.lake / "transactions").glob("day=*/*.parquet"))[-1]
    household = str(pq.read_table(lake)["household_id"][0].as_py())

    from zhiyin.pseudonym import load_key, pseudonymise

    pseudonym = pseudonymise(load_key(settings), household)
    states = pq.read_table(settings.states / AS_OF / "users.parquet", filters=[("user_id", "=", pseudonym)])
    newest = states.sort_by("feature_at").slice(states.num_rows - 1)
    assert newest["feature_at"][0].as_py().strftime("%Y-%m-%d") == AS_OF
    recommender = Recommender.load(settings.bundles / champion["digest"])
    (expected,) = recommender.recommend(newest, k=10, explain="text")

    printed = slice_home.zhiyin("recommend", household).stdout
    shown = [line.split("│")[2].strip() for line in printed.splitlines() if line.startswith("│")]
    assert [item for item in shown if item] == [item.item_id for item in expected.items]  # a long reason wraps


def test_a_taken_port_is_told_before_anything_starts(slice_home):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", slice_home.settings.service_port))
        holder.listen()
        refused = slice_home.zhiyin("up", "--once", check=False)
    assert refused.returncode != 0
    assert "ZHIYIN_SERVICE_PORT" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


def test_a_user_s_mistake_is_no_traceback(slice_home):
    for arguments, told in (
        (("run", "--as-of", "yesterday"), "2017-12-01"),
        (("run", "--as-of", AS_OF, "--dataset", "nowhere"), "complete_journey"),
        (("step", "dance", "--as-of", AS_OF), "evaluate"),
        (("run", "--as-of", AS_OF), "zhiyin up"),
        (("rollback",), "no earlier champion"),
    ):
        refused = slice_home.zhiyin(*arguments, check=False)
        assert refused.returncode != 0
        assert told in refused.stderr
        assert "Traceback" not in refused.stderr


def test_the_evaluation_and_the_decision_are_kept(slice_home):
    folder = slice_home.settings.reports / AS_OF
    digest = registry.challenger(slice_home.settings, Clock.parse(AS_OF))
    judged = read_json(folder / f"leaderboard-{digest[:12]}.json")
    assert judged["window"][1].startswith(AS_OF)
    assert {"zhiyin", "popularity", "personal_frequency"} <= set(judged["models"])
    assert judged["slices"]["heavy users"]["users"] > 0
    decision = read_json(folder / "gate.json")
    assert decision["promote"] is True
    assert decision["reasons"]


def test_the_promotion_is_on_record_with_its_figures_and_runs(slice_home):
    """Airflow's task knows its own run; the tracker's run is that of the training."""
    (entry,) = registry.read_history(slice_home.settings)
    champion = registry.champion(slice_home.settings)
    assert champion is not None
    assert (entry["action"], entry["digest"], entry["judged"]) == ("promote", champion["digest"], champion["judged"])
    assert entry["actor"] == "airflow"
    assert entry["airflow_run_id"].startswith(f"as_of_{AS_OF}")
    with sqlite3.connect(slice_home.settings.tracking) as tracked:  # an earlier test trained the same bundle again
        bundle = "select value from tags where key = 'bundle' and run_uuid = ?"
        assert tracked.execute(bundle, [entry["mlflow_run_id"]]).fetchall() == [(champion["judged"],)]
    assert entry["gate"]["users"] > 200
    assert entry["gate"]["checks"]["personal_frequency"]["mean"] > 0
    assert champion["digest"][:12] in slice_home.zhiyin("history").stdout


# A second time it stays up.


@pytest.fixture(scope="module")
def standing(slice_home: Slice, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The platform, up a second time; what it prints goes to the file."""
    printed = tmp_path_factory.mktemp("standing") / "printed"
    with printed.open("w") as file:
        process = subprocess.Popen(
            [tool("zhiyin"), "up", "--as-of", AS_OF], env=slice_home.environment, stdout=file, stderr=file
        )
    try:
        deadline = time.monotonic() + 600
        while "curl -s" not in printed.read_text():
            assert process.poll() is None, printed.read_text()
            assert time.monotonic() < deadline, printed.read_text()
            time.sleep(0.5)
        yield printed
    finally:
        down = subprocess.Popen([tool("zhiyin"), "down"], env=slice_home.environment, stdout=subprocess.PIPE, text=True)
        process.wait(timeout=240)  # first: a process that has ended and is not waited for counts as alive
        stopped, _ = down.communicate(timeout=240)
    assert "airflow-scheduler" in stopped
    facts = json.loads(slice_home.zhiyin("status", "--json").stdout)
    assert {server["state"] for server in facts["servers"].values()} == {"down"}


def test_a_second_time_reuses_what_is_there(slice_home, standing):
    assert f"The run for {AS_OF} is done" in standing.read_text()
    facts = json.loads(slice_home.zhiyin("status", "--json").stdout)
    assert {server["state"] for server in facts["servers"].values()} == {"up"}
    assert facts["last_run"]["as_of"] == AS_OF


def test_the_warehouse_s_documentation_is_served(slice_home, standing):
    page = httpx.get(f"http://127.0.0.1:{slice_home.settings.docs_port}/").text
    for described in ("interactions", "quarantined_events", "recommendation_service", "One row per"):
        assert described in page


def test_a_failed_run_ends_with_the_failed_task_s_log_and_a_code_that_is_not_zero(slice_home, standing):
    before = registry.champion(slice_home.settings)
    failed = slice_home.zhiyin("run", "--as-of", "2016-01-01", check=False)
    assert failed.returncode != 0
    assert "land failed; its log ends:" in failed.stdout
    assert "2016-01-01" in failed.stdout.split("land failed; its log ends:")[1]
    assert "Traceback" not in failed.stderr
    assert registry.champion(slice_home.settings) == before


def test_what_cannot_be_is_one_line_with_the_cure(slice_home, standing):
    for arguments, told in (
        (("up", "--once"), "already up"),
        (("backfill", "--from", AS_OF, "--to", AS_OF), "ZHIYIN_SCHEDULE=@daily"),
        (("run", "--as-of", AS_OF, "--dataset", "movielens_100k"), "Airflow is up for complete_journey"),
    ):
        refused = slice_home.zhiyin(*arguments, check=False)
        assert refused.returncode != 0
        assert told in refused.stderr
        assert "Traceback" not in refused.stderr

"""The DAG imports, wires what it should, and says what each task does and who owns it."""

import subprocess
import sys

import pendulum
import pytest

from cli.environment import environment
from pipeline.steps import IN_ORDER
from zhiyin.settings import PROJECT, get_settings
from zhiyin.warehouse import dbt


@pytest.fixture(scope="module")
def dag(tmp_path_factory):
    """The DAG as Airflow's own loader sees it, with a home and a metadata database of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZHIYIN_HOME", str(tmp_path_factory.mktemp("home")))
        for name, value in environment(get_settings()).items():
            patch.setenv(name, value)
        dbt(get_settings(), "parse")
        from airflow.dag_processing.dagbag import DagBag

        bag = DagBag(dag_folder=PROJECT / "dags")
        assert bag.import_errors == {}
        assert list(bag.dags) == ["recommender"]
        yield bag.dags["recommender"]


def test_every_step_is_a_task_but_the_build_which_has_a_task_per_model(dag):
    tasks = {task_id for task_id in dag.task_ids if not task_id.startswith("dbt.")}
    assert tasks == {step.__name__ for step in IN_ORDER} - {"build"}
    for mart in ("interactions", "user_activity", "item_activity"):
        assert any(mart in task_id for task_id in dag.task_ids if task_id.startswith("dbt."))


def test_order(dag):
    upstream = {task_id: dag.get_task(task_id).get_flat_relative_ids(upstream=True) for task_id in dag.task_ids}
    for earlier, later in (
        ("land", "dbt.dbt_producer_watcher"),
        ("dbt.dbt_producer_watcher", "publish"),
        ("publish", "features"),
        ("publish", "document"),
        ("features", "train"),
        ("features", "publish_items"),
        ("encode", "train"),
        ("train", "evaluate"),
        ("evaluate", "gate"),
        ("gate", "package"),
        ("package", "promote"),
        ("evaluate", "report"),
    ):
        assert earlier in upstream[later], f"{earlier} must come before {later}"
    # Item state is published beside the training, and whatever the gate decides.
    assert not dag.get_task("publish_items").downstream_task_ids


def test_one_writer_of_the_warehouse(dag):
    """Law 2: whatever opens the warehouse file holds the one-slot pool; a watching task never runs dbt itself."""
    holders = {task.task_id for task in dag.tasks if task.pool == "warehouse"}
    assert holders == {"dbt.dbt_producer_watcher", "publish", "document"}
    for task in dag.tasks:
        could_run_dbt = task.task_id.startswith("dbt.") and task.task_type != "EmptyOperator"
        if could_run_dbt and task.task_id not in holders:
            assert task.retries == 0, task.task_id


def test_a_backfill_s_runs_stand_at_the_ends_of_their_intervals_one_after_the_other(dag):
    assert dag.max_active_runs == 1
    as_of = dag.get_template_env().from_string(dag.get_task("land").op_args[0])
    assert as_of.render(params={"as_of": None}, data_interval_end=pendulum.datetime(2017, 12, 2)) == "2017-12-02"
    assert as_of.render(params={"as_of": "2017-11-30"}, data_interval_end=pendulum.now()) == "2017-11-30"
    producer = dag.get_task("dbt.dbt_producer_watcher")
    assert producer.env["ZHIYIN_AS_OF"] == dag.get_task("land").op_args[0]


def test_a_run_takes_states_at_the_snapshots_of_its_clock(dag):
    snapshots = dag.get_template_env().from_string(dag.get_task("dbt.dbt_producer_watcher").env["ZHIYIN_SNAPSHOTS"])
    days = "2017-08-25,2017-09-08,2017-09-22,2017-10-06,2017-10-20,2017-11-03,2017-11-17,2017-12-01"
    assert snapshots.render(params={"as_of": None}, data_interval_end=pendulum.datetime(2017, 12, 1)) == days
    assert snapshots.render(params={"as_of": "2017-12-01"}, data_interval_end=pendulum.now()) == days


def test_every_task_has_an_owner_and_steps_say_what_they_do_and_retry(dag):
    assert dag.tags
    assert dag.doc_md
    for task in dag.tasks:
        assert task.owner == "recommendation", task.task_id
        if not task.task_id.startswith("dbt."):
            assert task.doc_md, task.task_id
            assert task.retries >= 1, task.task_id
            assert task.execution_timeout, task.task_id


def test_the_dag_file_imports_nothing_heavy():
    """The DAG processor parses the file again and again: models and stores are imported inside the tasks."""
    code = (
        "import sys; sys.path.insert(0, 'dags'); import pipeline.steps, zhiyin.settings; "
        "print(sorted({'torch', 'feast', 'evidently', 'bentoml', 'lightgbm'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT)
    assert answer.stdout.strip() == "[]"

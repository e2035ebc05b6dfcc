"""The DAG `recommender`: from the raw log to a promoted, explained recommender, once per data interval.

Every task is one step of the pipeline; `zhiyin step NAME --as-of DATE` runs the same function by hand.
"""

import sys
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any

import pendulum
from airflow.sdk import DAG, Param, task
from airflow.sdk.exceptions import AirflowFailException
from cosmos import DbtTaskGroup, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos.constants import ExecutionMode, InvocationMode, LoadMode, TestBehavior

from pipeline.steps import STEPS, run_step
from zhiyin.recommender.recipe import run_clock
from zhiyin.settings import get_settings
from zhiyin.warehouse import DBT_PROJECT, snapshot_days

# The one clock of a run: the end of its data interval, unless a run by hand names another day.
AS_OF = "{{ params.as_of or (data_interval_end | ds) }}"
SNAPSHOTS = "{{ (params.as_of or (data_interval_end | ds)) | snapshots }}"

# One slot: DuckDB allows one writing process.
WAREHOUSE_POOL = "warehouse"

settings = get_settings()


def run_once(name: str, as_of: str) -> Any:
    """Run a step. Errors of the input fail the task at once: a retry would repeat them."""
    try:
        return run_step(name, settings, run_clock(settings, as_of))
    except (ValueError, FileNotFoundError) as error:
        raise AirflowFailException(str(error)) from error


def snapshots(as_of: str) -> str:
    """A template filter: the moments of a run at which dbt computes user states."""
    return snapshot_days(run_clock(settings, as_of))


def step(name: str, **arguments: Any) -> Any:
    """A task that runs the step of its name."""

    @task(task_id=name, doc_md=STEPS[name].__doc__, **arguments)
    def run(as_of: str) -> None:
        run_once(name, as_of)

    return run(AS_OF)


with DAG(
    dag_id="recommender",
    description="Raw behaviour log and catalogue to a live, explained, personalised recommender",
    schedule=settings.schedule,
    start_date=pendulum.datetime(1990, 1, 1, tz="UTC"),  # any past interval can be run; none starts by itself
    end_date=pendulum.instance(datetime.combine(until, time.min)) if (until := settings.schedule_until) else None,
    catchup=False,
    max_active_runs=1,
    user_defined_filters={"snapshots": snapshots},
    params={
        "as_of": Param(
            None,
            type=["null", "string"],
            format="date",
            description="Midnight UTC of this day is now: later events do not exist for the run. "
            "Empty: the end of the data interval.",
        )
    },
    default_args={
        "owner": "recommendation",
        "retries": 1,
        "retry_delay": timedelta(seconds=20),
        "execution_timeout": timedelta(hours=2),
    },
    tags=["zhiyin", settings.dataset],
    doc_md=__doc__,
) as dag:

    @task.short_circuit(task_id="gate", doc_md=STEPS["gate"].__doc__)
    def gate(as_of: str) -> bool:
        return bool(run_once("gate", as_of))

    dbt = DbtTaskGroup(
        group_id="dbt",
        project_config=ProjectConfig(
            dbt_project_path=DBT_PROJECT,
            manifest_path=settings.dbt_target / "manifest.json",
            install_dbt_deps=False,
        ),
        profile_config=ProfileConfig(
            profile_name="zhiyin", target_name="warehouse", profiles_yml_filepath=DBT_PROJECT / "profiles.yml"
        ),
        render_config=RenderConfig(load_method=LoadMode.DBT_MANIFEST, test_behavior=TestBehavior.AFTER_EACH),
        execution_config=ExecutionConfig(
            execution_mode=ExecutionMode.WATCHER,
            # dbt runs in its own process, because in Airflow's the event of each log line slows it.
            invocation_mode=InvocationMode.SUBPROCESS,
            dbt_executable_path=Path(sys.executable).with_name("dbt"),
            # The producer task is the only writer; its retry rebuilds everything.
            setup_operator_args={"pool": WAREHOUSE_POOL, "retries": 1},
        ),
        # A retry of a watching task would run dbt a second time, beside the producer.
        operator_args={"env": {"ZHIYIN_AS_OF": AS_OF, "ZHIYIN_SNAPSHOTS": SNAPSHOTS}, "append_env": True, "retries": 0},
    )
    publish = step("publish", pool=WAREHOUSE_POOL)
    evaluate = step("evaluate")

    step("land") >> dbt >> publish
    publish >> step("document", pool=WAREHOUSE_POOL)
    features = step("features")
    publish >> [features, step("encode")] >> step("train") >> evaluate
    features >> step("publish_items")
    evaluate >> gate(AS_OF) >> step("refit") >> step("package") >> step("promote")
    evaluate >> step("report")

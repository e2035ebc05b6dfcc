"""Law 3: one edit of a mart and its YAML, and the feature is in training, online, in the ranker and in the report."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

import feature_repo
from feature_repo import OnlineStates
from monitoring import frames
from tests.data.homes import BUILD_MODULE
from training.data import read_data
from training.splits import training_splits
from training.train import fit
from zhiyin import warehouse
from zhiyin.clock import Clock
from zhiyin.landing import land
from zhiyin.recommender.candidates import Context
from zhiyin.recommender.recipe import Recipe
from zhiyin.settings import Settings

MART, FEATURE = "user_activity", "mean_basket_size_28d"
CLOCK = Clock.parse("2017-07-01")


def edit(project: Path) -> None:
    """What a data engineer does: a column, and what it means."""
    sql = project / "models" / "marts" / f"{MART}.sql"
    query = sql.read_text()
    sql.write_text(f"select *, events_28d / nullif(baskets_28d, 0) as {FEATURE} from ({query})\n")
    described = sql.with_suffix(".yml")
    content = yaml.safe_load(described.read_text())
    (model,) = (model for model in content["models"] if model["name"] == MART)
    model["columns"].append(
        {"name": FEATURE, "data_type": "double", "description": "Events per basket in the last 28 days."}
    )
    described.write_text(yaml.safe_dump(content, sort_keys=False))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A real slice, built by an edited copy of the dbt project; its settings."""
    project = tmp_path_factory.mktemp("edited") / "dbt_project"
    shutil.copytree(warehouse.DBT_PROJECT, project, ignore=shutil.ignore_patterns("target", "logs"))
    edit(project)
    settings = Settings(home=tmp_path_factory.mktemp("home"), user_sample=60, memory_limit="2GB")  # type: ignore[call-arg]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BUILD_MODULE, "DBT_PROJECT", project)
        land(settings, CLOCK)
        warehouse.build(settings, CLOCK, "--exclude-resource-type", "test", "--exclude-resource-type", "unit_test")
    warehouse.publish(settings, CLOCK)
    feature_repo.apply(settings)
    feature_repo.materialize(settings, CLOCK)
    feature_repo.read_offline(settings, CLOCK)
    feature_repo.verify_parity(settings, CLOCK)
    return settings


def test_a_column_of_a_mart_is_a_feature_everywhere(home: Settings) -> None:
    states = home.states / CLOCK.date

    training = pq.read_table(states / "users.parquet", filters=[("feature_at", "=", CLOCK.as_of)])
    values = {row["user_id"]: row[FEATURE] for row in training.to_pylist() if row[FEATURE] is not None}
    assert values

    online = OnlineStates(home)
    assert {user: (online.user(user) or {})[FEATURE] for user in values} == values

    assert FEATURE in frames.states(home, CLOCK, states / "users.parquet").numerical

    data = read_data(warehouse.current(home), states)
    recipe = Recipe(generators={"personal_frequency": {}, "popularity": {}}, windows=CLOCK.windows)
    text = np.zeros((len(data.catalogue), 1), np.float32)
    splits = training_splits(recipe, data.history, data.states, data.catalogue, CLOCK.label_days)
    fitted = fit(recipe, data.history, splits, data.states, Context(data.catalogue, text))
    assert f"user_{FEATURE}" in fitted.rankers["all"].ranker.features

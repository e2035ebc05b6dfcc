"""The search for settings: it starts from what holds, goes on where it was cut off, and is read back."""

import inspect

import pytest
from typer.testing import CliRunner

from benchmarks.lab import tune as search
from benchmarks.lab import tuned as settings_in_use
from benchmarks.lab.experiment import MODELS
from benchmarks.lab.tune import merge, tune, write_study, write_to_recipe
from cli.main import app
from tests.model.checkerboard import experiment_of
from training.protocols import LeaveOneOut
from zhiyin.recommender.candidates.base import silent
from zhiyin.recommender.candidates.space import Choice
from zhiyin.recommender.recipe import Recipe, read_recipe
from zhiyin.store import read_json

TODAY = {"ridge": 4_000.0, "decay": 0.9}  # far too stiff for 24 users


@pytest.fixture(scope="module")
def experiment(world):
    protocol = LeaveOneOut(repeats=True)
    return experiment_of(world, protocol, protocol.validation(world.history, world.catalogue))


@pytest.fixture(scope="module")
def whole(experiment, tmp_path_factory):
    """Eight trials in one go."""
    storage = tmp_path_factory.mktemp("study") / "studies.db"
    return tune(experiment, "item_to_item", TODAY, 8, storage, "split", silent), storage


def test_it_begins_with_what_holds_and_ends_no_worse(whole):
    figures, _ = whole
    assert figures["trials"] == 8
    first = next(trial for trial in figures["best_trials"] if trial["number"] == 0)
    assert first["settings"] == {**TODAY, "counted": False}
    assert first["ndcg@10"] == pytest.approx(figures["before"]["ndcg@10"]["mean"], abs=1e-5)
    gap = figures["best_less_before"]
    assert gap["mean"] == pytest.approx(figures["ndcg@10"]["mean"] - figures["before"]["ndcg@10"]["mean"])
    assert gap["mean"] >= 0
    best = max(figures["best_trials"], key=lambda trial: trial["ndcg@10"])
    assert figures["settings"] == (merge(TODAY, best["settings"]) if gap["mean"] > 0 else TODAY)


def test_a_search_that_is_called_again_goes_on_and_a_finished_one_only_answers(experiment, whole, monkeypatch):
    figures, storage = whole
    fitted = []
    fit = search.fit_model
    monkeypatch.setattr(search, "fit_model", lambda *arguments: fitted.append(0) or fit(*arguments))
    assert tune(experiment, "item_to_item", TODAY, 8, storage, "split", silent) == figures
    assert len(fitted) == 2  # the best and what holds, for the paired difference
    more = tune(experiment, "item_to_item", TODAY, 10, storage, "split", silent)
    assert more["trials"] == 10
    assert len(fitted) == 2 + 2 + 2
    other = tune(experiment, "item_to_item", TODAY, 1, storage, "another split", silent)
    assert other["trials"] == 1


def test_the_same_seed_searches_the_same(experiment, whole, tmp_path):
    assert tune(experiment, "item_to_item", TODAY, 8, tmp_path / "studies.db", "split", silent) == whole[0]


def test_what_a_study_found_is_what_holds_from_then_on(whole, tmp_path, monkeypatch):
    for module in (search, settings_in_use):
        monkeypatch.setattr(module, "STUDIES", tmp_path)
    write_study("movielens_100k", "leave_one_out", "item_to_item", whole[0])
    assert settings_in_use.tuned(Recipe(), "movielens_100k", "leave_one_out", "item_to_item") == whole[0]["settings"]
    assert settings_in_use.tuned(Recipe(), "movielens_100k", "cold_items", "item_to_item") == {}


def test_what_is_found_reaches_the_recipe_that_bundles_are_made_by(tmp_path, monkeypatch):
    monkeypatch.setattr(search, "recipe_file", lambda dataset: tmp_path / f"{dataset}.toml")
    path = write_to_recipe(Recipe(), "shop", "item_to_item", {"ridge": 42.0})
    found = read_recipe("shop", path)
    assert found.generators["item_to_item"].settings == {"ridge": 42.0}
    assert found.generators.keys() == Recipe().generators.keys()
    write_to_recipe(found, "shop", "zhiyin", {"ranker": {"trees": 77}})
    assert read_recipe("shop", path).ranker == {"trees": 77}
    assert read_recipe("shop", path).generators["item_to_item"].settings == {"ridge": 42.0}
    assert write_to_recipe(found, "shop", "bpr", {"factors": 8}) is None


def test_settings_of_a_part_are_set_without_touching_the_others():
    options = {"ranker": {"trees": 200, "num_leaves": 15}, "windows": 3}
    merged = merge(options, {"ranker.trees": 90, "windows": 2})
    assert merged == {"ranker": {"trees": 90, "num_leaves": 15}, "windows": 2}
    assert options["ranker"]["trees"] == 200


def test_every_search_space_names_settings_of_its_model_and_holds_their_defaults():
    for name, kind in MODELS.items():
        parameters = inspect.signature(kind.fit).parameters
        for key, bounds in kind.space.items():
            if key not in parameters:
                assert any(each.kind is each.VAR_KEYWORD for each in parameters.values()), f"{name}.{key}"
            elif isinstance(bounds, Choice):
                assert parameters[key].default in bounds.values, f"{name}.{key}"
            else:
                assert bounds.low <= parameters[key].default <= bounds.high, f"{name}.{key}"


@pytest.mark.parametrize("path", sorted(settings_in_use.STUDIES.glob("*/*/*.json")), ids=lambda path: path.stem)
def test_a_committed_study_was_made_on_validation_and_its_settings_can_be_fitted(path, world):
    study = read_json(path)
    assert "validation" in study["split"]
    MODELS[path.stem].fit(world.history, world.context, **study["settings"])


@pytest.mark.parametrize(
    ("model", "words"), [("svd", "unknown model 'svd'"), ("kind_demand", "kind_demand has no settings to tune")]
)
def test_a_mistake_is_named(model, words):
    arguments = ["tune", "--protocol", "leave_one_out", "--model", model]
    answer = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert answer.exit_code == 2
    assert words in answer.output

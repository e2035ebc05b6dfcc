"""To the last day: the judged recipe fitted again, what is kept of earlier fits, and the checks before it is served."""

import shutil
from datetime import timedelta

import pytest

import training.train
from tests.model.checkerboard import CLOCK, NOW, events, home_of
from training.evaluation import refit_check
from training.evaluation.refit_check import check_refit
from training.ranking.ranking_set import ranking_rows
from training.train import refit, train
from zhiyin.recommender.recommender import Recommender
from zhiyin.store import MANIFEST, read_json


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return home_of(tmp_path_factory.mktemp("refit"), events())


@pytest.fixture(scope="module")
def bundles(home):
    """The judged bundle and the served one."""
    settings, marts, states = home
    judged = train(settings, CLOCK, marts, states)
    return judged, refit(settings, CLOCK, marts, states, judged.name)


def test_what_is_served_knows_the_last_day_and_what_is_judged_does_not(bundles):
    judged, served = (read_json(bundle / MANIFEST) for bundle in bundles)
    assert judged["fitted_until"] == CLOCK.evaluation_cut.isoformat()
    assert served["fitted_until"] == CLOCK.as_of.isoformat()
    assert served["judged"] == bundles[0].name
    assert served["encoders_start_from"] == bundles[0].name
    assert served["recipe"] == judged["recipe"]
    assert max(served["training_splits"]) > max(judged["training_splits"])
    last = max(event[3] for event in events())
    assert last >= CLOCK.evaluation_cut
    one, two = (Recommender.load(bundle).events.sum() for bundle in bundles)
    assert one == sum(event[3] < CLOCK.evaluation_cut for event in events())
    assert two == len(events())


def test_what_is_kept_of_an_earlier_fit_changes_nothing(home, bundles):
    settings, marts, states = home
    kept = sorted(path.name for path in settings.window_generators.iterdir())
    assert kept
    again = train(settings, CLOCK, marts, states)  # the windows' generators come from what is kept
    assert sorted(path.name for path in settings.window_generators.iterdir()) == kept
    shutil.rmtree(settings.window_generators)
    anew = train(settings, CLOCK, marts, states)
    assert again.name == anew.name == bundles[0].name


def test_rows_of_windows_that_both_fits_share_are_made_once_and_change_nothing(home, bundles, monkeypatch):
    settings, marts, states = home
    made = []

    def counted(split, *rest):
        made.append(split.log.cut)
        return ranking_rows(split, *rest)

    monkeypatch.setattr(training.train, "ranking_rows", counted)
    judged = train(settings, CLOCK, marts, states)
    first = made.copy()
    served = refit(settings, CLOCK, marts, states, judged.name)
    assert len(made) == len(set(made))
    assert len(made) < 2 * len(first)
    made.clear()
    shutil.rmtree(settings.ranking_rows)
    assert refit(settings, CLOCK, marts, states, judged.name).name == served.name == bundles[1].name
    assert set(made) & set(first)


def test_generators_are_fitted_anew_where_the_log_before_them_is_another(home, bundles, tmp_path):
    settings, *_ = home
    fewer = [event for event in events() if event[0] != "u00" or event[3] >= NOW - timedelta(days=25)]
    elsewhere, marts, states = home_of(tmp_path, fewer)
    shutil.copytree(settings.window_generators, elsewhere.window_generators)
    shutil.copytree(settings.encodings, elsewhere.encodings)
    before = {path.name for path in elsewhere.window_generators.iterdir()}
    train(elsewhere, CLOCK, marts, states)
    assert {path.name for path in elsewhere.window_generators.iterdir()} > before


def test_a_refit_that_lists_otherwise_is_not_served(home, bundles, monkeypatch):
    settings, _, states = home
    judged, served = bundles
    facts = check_refit(settings, CLOCK, states, judged, served)
    assert 0.35 < facts["overlap@10"] <= 1
    monkeypatch.setattr(refit_check, "LEAST_OVERLAP", facts["overlap@10"] + 0.01)
    with pytest.raises(ValueError, match="is not served"):
        check_refit(settings, CLOCK, states, judged, served)

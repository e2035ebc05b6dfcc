"""Fit the ranker: LambdaMART (Burges 2010) on the ranking set."""

from typing import Any, cast

import lightgbm as lgb
import numpy as np

from training.ranking.ranking_set import RankingSet
from zhiyin.recommender.candidates.base import Progress, Record, unrecorded
from zhiyin.recommender.ranker import Ranker
from zhiyin.settings import Settings

TREES = 200
PARAMETERS = {
    "objective": "lambdarank",
    "lambdarank_truncation_level": 20,  # the list shown is 10 long; pairs down to twice that still teach
    "learning_rate": 0.05,
    "num_leaves": 31,
    "min_data_in_leaf": 100,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 10.0,
    "max_bin": 127,
    "verbosity": -1,
    "deterministic": True,
    "force_row_wise": True,  # the faster choice here, and one that is measured anew each run would not repeat
    "metric": "ndcg",
    "eval_at": [10],
}
CURVE_EVERY = 10  # trees between two points on the lessons, whose lists take a while to judge


def fit_ranker(
    ranking_set: RankingSet,
    settings: Settings,
    progress: Progress,
    trees: int = TREES,
    record: Record = unrecorded,
    trial: RankingSet | None = None,
    **parameters: Any,
) -> Ranker:
    """Grow the trees; the same set, seed and threads give the same model. ``parameters`` replace those above.

    Where somebody keeps curves (``record``): NDCG@10 by tree, on the lessons and on the lists of the ``trial`` in which
    something was taken. The trial only watches; no tree depends on it.
    """
    rows = lgb.Dataset(
        ranking_set.features,
        ranking_set.label,
        group=ranking_set.group,
        feature_name=ranking_set.names,
        free_raw_data=True,
        params={"max_bin": PARAMETERS["max_bin"]},
    )

    watched = []
    if trial is not None and trial.label.any() and record is not unrecorded:
        watched = [_with_an_answer(trial, rows)]

    def report(state: lgb.callback.CallbackEnv) -> None:
        tree, last = state.iteration + 1, state.iteration + 1 == trees
        for judged in state.evaluation_result_list or []:
            record("ranker NDCG of held-out users", tree, judged[2])
        if record is not unrecorded and (tree % CURVE_EVERY == 0 or last):
            record("ranker NDCG of its lessons", tree, cast(lgb.Booster, state.model).eval_train()[0][2])
        if state.iteration % 10 == 9:
            size = f"{len(ranking_set.label):,} candidates of {len(ranking_set.group):,} lists"
            progress("ranker", (state.iteration + 1) / trees, f"tree {state.iteration + 1}, {size}")

    parameters = PARAMETERS | parameters | {"seed": settings.seed, "num_threads": settings.threads}
    return Ranker(lgb.train(parameters, rows, num_boost_round=trees, valid_sets=watched, callbacks=[report]))


def _with_an_answer(trial: RankingSet, lessons: lgb.Dataset) -> lgb.Dataset:
    """The lists in which something was taken: LightGBM counts the others as perfect."""
    owner = np.repeat(np.arange(len(trial.group)), trial.group)
    answered = np.bincount(owner, trial.label, len(trial.group)) > 0
    kept = answered[owner]
    return lgb.Dataset(trial.features[kept], trial.label[kept], lessons, group=trial.group[answered])

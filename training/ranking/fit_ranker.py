"""Fit the ranker: LambdaMART (Burges 2010, MSR-TR-2010-82) on the ranking set."""

from typing import Any, cast

import lightgbm as lgb
import numpy as np

from training.ranking.ranking_set import RankingSet
from zhiyin.recommender.candidates.base import Progress, Record, unrecorded
from zhiyin.recommender.candidates.space import Range, Space
from zhiyin.recommender.ranker import Ranker

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
SPACE: Space = {  # what is tuned, and within what bounds
    "ranker.trees": Range(100, 500, log=True),
    "ranker.num_leaves": Range(7, 63, log=True),
    "ranker.min_data_in_leaf": Range(20, 500, log=True),
    "ranker.learning_rate": Range(0.02, 0.2, log=True),
}
CURVE_EVERY = 10  # trees between two points on the training set, whose lists take a while to evaluate


def fit_ranker(
    ranking_set: RankingSet,
    seed: int,
    threads: int,
    progress: Progress,
    trees: int = TREES,
    record: Record = unrecorded,
    holdout: RankingSet | None = None,
    **parameters: Any,
) -> Ranker:
    """Grow the trees; the same set, seed and threads give the same model. ``parameters`` replace those above.

    Where somebody keeps curves (``record``): NDCG@10 by tree, on the training set and on the lists of the ``holdout``
    in which something was taken. No tree depends on the holdout.
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
    if holdout is not None and holdout.label.any() and record is not unrecorded:
        watched = [_with_an_answer(holdout, rows)]

    def report(state: lgb.callback.CallbackEnv) -> None:
        tree, last = state.iteration + 1, state.iteration + 1 == trees
        for measured in state.evaluation_result_list or []:
            record("ranker NDCG of held-out users", tree, measured[2])
        if record is not unrecorded and (tree % CURVE_EVERY == 0 or last):
            record("ranker NDCG of its training set", tree, cast(lgb.Booster, state.model).eval_train()[0][2])
        if state.iteration % 10 == 9:
            size = f"{len(ranking_set.label):,} candidates of {len(ranking_set.group):,} lists"
            progress("ranker", (state.iteration + 1) / trees, f"tree {state.iteration + 1}, {size}")

    parameters = PARAMETERS | parameters | {"seed": seed, "num_threads": threads}
    return Ranker(lgb.train(parameters, rows, num_boost_round=trees, valid_sets=watched, callbacks=[report]))


def _with_an_answer(holdout: RankingSet, training: lgb.Dataset) -> lgb.Dataset:
    """The lists in which something was taken: LightGBM counts the others as perfect."""
    owner = np.repeat(np.arange(len(holdout.group)), holdout.group)
    answered = np.bincount(owner, holdout.label, len(holdout.group)) > 0
    kept = answered[owner]
    return lgb.Dataset(holdout.features[kept], holdout.label[kept], training, group=holdout.group[answered])

"""Fit the ranker: LambdaMART (Burges 2010) on the ranking set."""

from typing import Any

import lightgbm as lgb

from training.ranking_set import RankingSet
from zhiyin.recommender.candidates.base import Progress
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
}


def fit_ranker(
    ranking_set: RankingSet, settings: Settings, progress: Progress, trees: int = TREES, **parameters: Any
) -> Ranker:
    """Grow the trees; the same set, seed and threads give the same model. ``parameters`` replace those above."""
    rows = lgb.Dataset(
        ranking_set.features,
        ranking_set.label,
        group=ranking_set.group,
        feature_name=ranking_set.names,
        free_raw_data=True,
        params={"max_bin": PARAMETERS["max_bin"]},
    )

    def report(state: lgb.callback.CallbackEnv) -> None:
        if state.iteration % 10 == 9:
            size = f"{len(ranking_set.label):,} candidates of {len(ranking_set.group):,} lists"
            progress("ranker", (state.iteration + 1) / trees, f"tree {state.iteration + 1}, {size}")

    parameters = PARAMETERS | parameters | {"seed": settings.seed, "num_threads": settings.threads}
    return Ranker(lgb.train(parameters, rows, num_boost_round=trees, callbacks=[report]))

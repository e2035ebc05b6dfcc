"""The Evidently reports: quality and drift of a dataset, and the quality of the evaluated lists."""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.compute as pc
from evidently import DataDefinition, Dataset, Recsys, Report
from evidently.core.report import Snapshot
from evidently.metrics import (
    MAP,
    MRR,
    NDCG,
    FBetaTopK,
    HitRate,
    Personalization,
    PrecisionTopK,
    RecallTopK,
    RecCasesTable,
)
from evidently.presets import DataDriftPreset, DataSummaryPreset

from monitoring.frames import Comparison
from zhiyin.clock import Clock
from zhiyin.contract import ITEM_ID, USER_ID
from zhiyin.settings import Settings
from zhiyin.store.sql import read_table, schema_of
from zhiyin.warehouse import connect

# Effect sizes, which do not grow with the number of rows; p-values would call every change significant.
# Wasserstein distance over the reference's standard deviation, and Jensen-Shannon distance (0 to 1).
NUMERICAL_METHOD = "wasserstein"
CATEGORICAL_METHOD = "jensenshannon"
THRESHOLD = 0.1

K = 10
LIST_USERS = 500
CASES = 5  # users whose lists are shown row by row
UNLISTED = 1_000_000  # rank of a relevant item that is in no list

RANKING = {
    "NDCG": "ndcg",
    "RecallTopK": "recall",
    "PrecisionTopK": "precision",
    "FBetaTopK": "f1",
    "HitRate": "hit_rate",
    "MRR": "mrr",
    "MAP": "map",
}


def quality(clock: Clock, data: Comparison) -> Snapshot:
    """Rows, missing values, duplicates and the distribution of each column, beside the reference window's."""
    return _run(clock, data, Report([DataSummaryPreset()]), f"{data.name}: quality")


def drift(clock: Clock, data: Comparison) -> Snapshot:
    """How far each column's distribution moved from the reference window's."""
    preset = DataDriftPreset(
        num_method=NUMERICAL_METHOD,
        cat_method=CATEGORICAL_METHOD,
        num_threshold=THRESHOLD,
        cat_threshold=THRESHOLD,
    )
    return _run(clock, data, Report([preset]), f"{data.name}: drift")


def _run(clock: Clock, data: Comparison, report: Report, name: str) -> Snapshot:
    definition = DataDefinition(numerical_columns=data.numerical, categorical_columns=data.categorical)
    current = Dataset.from_pandas(data.current, definition)
    reference = Dataset.from_pandas(data.reference, definition) if data.has_reference else None
    return report.run(current, reference, timestamp=clock.as_of, name=name, tags=[data.name, clock.date])


def drifted_columns(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Column, method, effect, threshold and whether it drifted; the largest effect first."""
    found = [
        {
            "column": metric["config"]["column"],
            "method": metric["config"]["method"],
            "effect": float(metric["value"]),
            "threshold": float(metric["config"]["threshold"]),
        }
        for metric in snapshot.dict()["metrics"]
        if metric["metric_name"].startswith("ValueDrift(")
    ]
    for column in found:
        column["drifted"] = column["effect"] >= column["threshold"]
    return sorted(found, key=lambda column: (-column["effect"], column["column"]))


def ranking(settings: Settings, clock: Clock, lists: Path, truth: Path) -> Snapshot:
    """Recommender metrics at 10 of evaluated lists, over a sample of the users who have a relevant item.

    Args:
        lists: Parquet with user_id, item_id, rank (1, 2, …), score.
        truth: Parquet with user_id, item_id: what was relevant.

    Raises:
        ValueError: a column is missing; the message names file and column.
    """
    _check(lists, (USER_ID, ITEM_ID, "rank", "score"))
    _check(truth, (USER_ID, ITEM_ID))
    # Relevant items outside the lists are rows, too: without them Evidently would leave out every user without a hit,
    # and count recall among the listed items only.
    with connect(settings) as connection:
        sample = "select user_id from (select distinct user_id from read_parquet($truth))"
        sample += " order by md5(user_id || $seed) limit $users"
        rows = connection.execute(
            f"""
            select user_id, item_id, coalesce(lists.rank, {UNLISTED})::bigint as rank,
                (truth.item_id is not null)::integer as relevant
            from (select * from read_parquet($lists) where rank <= {K}) as lists
            full join (select distinct user_id, item_id from read_parquet($truth)) as truth using (user_id, item_id)
            where user_id in ({sample})
            order by user_id, rank, item_id
            """,
            {"lists": str(lists), "truth": str(truth), "seed": str(settings.seed), "users": LIST_USERS},
        ).df()
    definition = DataDefinition(
        categorical_columns=[USER_ID, ITEM_ID],
        # By rank: by score, a user without a full list would have the unlisted items counted as recommended.
        ranking=[
            Recsys(user_id=USER_ID, item_id=ITEM_ID, target="relevant", prediction="rank", recommendations_type="rank")
        ],
    )
    metrics: list[Any] = [metric(k=K) for metric in (NDCG, RecallTopK, PrecisionTopK, FBetaTopK, HitRate, MRR, MAP)]
    metrics += [Personalization(k=K), RecCasesTable(user_ids=_cases(rows))]
    return Report(metrics).run(
        Dataset.from_pandas(rows, definition),
        None,
        timestamp=clock.as_of,
        name="lists: ranking",
        tags=["lists", clock.date],
    )


def _check(path: Path, columns: tuple[str, ...]) -> None:
    missing = set(columns) - set(schema_of(path).names)
    if missing:
        raise ValueError(f"{path} lacks column {', '.join(sorted(missing))}; it must have {', '.join(columns)}")


def _cases(rows: pd.DataFrame) -> list[str]:
    listed = rows[rows["rank"] <= K]
    return sorted(listed[USER_ID].unique().tolist())[:CASES]


def ranking_figures(snapshot: Snapshot) -> dict[str, float]:
    """The metrics at 10. Evidently labels the ranks of NDCG and MRR 2 to 11, so they are read by position."""
    figures = {}
    for metric in snapshot.dict()["metrics"]:
        name = RANKING.get(metric["metric_name"].split("(")[0])
        if name:
            values = list(metric["value"]["value"].values())
            figures[name] = float(values[min(K, len(values)) - 1])
    return figures


def evaluated_users(truth: Path) -> int:
    """How many users the ranking report covers."""
    return min(LIST_USERS, int(pc.count_distinct(read_table(truth, columns=[USER_ID])[USER_ID]).as_py()))

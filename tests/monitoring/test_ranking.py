"""The ranking report: Evidently's figures are those of the project's own definitions, on the lists as served."""

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from monitoring import evidence, report
from tests.monitoring.homes import AS_OF, Build

K = 10


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Lists of 60 users, some short, one missing, one without a hit; ranks past 10, which do not count."""
    random = np.random.default_rng(0)
    lists, truth = [], []
    for number in range(60):
        user = f"u{number}"
        relevant = [f"i{item}" for item in random.choice(30, random.integers(1, 25), replace=False)]
        truth += [(user, item) for item in relevant]
        length = {0: 0, 1: 3}.get(number, 12)
        chosen = [f"i{item}" for item in random.choice(60, length, replace=False)]
        if number == 2:
            chosen = [f"x{item}" for item in range(12)]
        lists += [(user, item, rank, 1.0 / rank) for rank, item in enumerate(chosen, 1)]
    folder = tmp_path_factory.mktemp("evaluation")
    pq.write_table(
        pa.table(dict(zip(("user_id", "item_id", "rank", "score"), zip(*lists, strict=True), strict=True))),
        folder / "lists.parquet",
    )
    pq.write_table(
        pa.table(dict(zip(("user_id", "item_id"), zip(*truth, strict=True), strict=True))), folder / "truth.parquet"
    )
    return {"lists_file": str(folder / "lists.parquet"), "truth_file": str(folder / "truth.parquet")}


def by_definition(evaluated: dict[str, str]) -> dict[str, float]:
    """Per user with at least one relevant item, then the plain mean; a user without a list counts 0."""
    truth: dict[str, set[str]] = {}
    for row in pq.read_table(evaluated["truth_file"]).to_pylist():
        truth.setdefault(row["user_id"], set()).add(row["item_id"])
    lists: dict[str, list[str]] = {}
    for row in sorted(pq.read_table(evaluated["lists_file"]).to_pylist(), key=lambda row: row["rank"]):
        lists.setdefault(row["user_id"], []).append(row["item_id"])
    rows = []
    for user, relevant in truth.items():
        hits = [item in relevant for item in lists.get(user, [])[:K]]
        ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(K, len(relevant)) + 1))
        gain = sum(hit / math.log2(rank + 1) for rank, hit in enumerate(hits, 1))
        first = next((1 / rank for rank, hit in enumerate(hits, 1) if hit), 0.0)
        rows.append((gain / ideal, sum(hits) / len(relevant), float(any(hits)), first))
    return dict(zip(("ndcg", "recall", "hit_rate", "mrr"), np.mean(rows, axis=0).tolist(), strict=True))


def test_figures_are_those_of_the_definitions(build: Build, evaluated: dict[str, str]) -> None:
    settings = build()
    paths = report(settings, AS_OF, evaluated)
    assert paths["lists_ranking"].stat().st_size > 10_000
    snapshot = evidence.ranking(settings, AS_OF, Path(evaluated["lists_file"]), Path(evaluated["truth_file"]))
    figures = evidence.ranking_figures(snapshot)
    assert {name: figures[name] for name in ("ndcg", "recall", "hit_rate", "mrr")} == pytest.approx(
        by_definition(evaluated)
    )
    assert "A sample of 60 users" in paths["index"].read_text()


def test_a_missing_column_is_named(build: Build, evaluated: dict[str, str], tmp_path: Path) -> None:
    lists = tmp_path / "lists.parquet"
    pq.write_table(pq.read_table(evaluated["lists_file"]).drop_columns(["rank"]), lists)
    with pytest.raises(ValueError, match=r"lists\.parquet lacks column rank; it must have user_id, item_id, rank"):
        evidence.ranking(build(), AS_OF, lists, Path(evaluated["truth_file"]))

"""The leaderboard: the served recommender, each of its generators alone and the baselines, on one window.

The window is the ``label_days`` before ``as_of``: later than everything the bundle's models were fitted on. Lists are
made by the bundle's own ``Recommender`` from the users' and items' states at the window's start.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from training.data import eligibility, eligible_at, read_data
from training.evaluation.gate import WHOLE
from training.evaluation.metrics import METRICS, Values, bootstrap_means, interval, list_metrics, user_auc
from training.evaluation.page import leaderboard_page
from training.evaluation.reliability import measure_reliability
from training.evaluation.splits import Truth, truth_between
from zhiyin.clock import Clock
from zhiyin.contract import ITEM_ID, USER_ID
from zhiyin.recommender.candidates.base import Progress, silent, top_items
from zhiyin.recommender.catalogue import Floats, Integers, ItemState
from zhiyin.recommender.recommender import Recommender
from zhiyin.recommender.rules import read_rules
from zhiyin.settings import Settings
from zhiyin.store import atomic_file, write_json
from zhiyin.warehouse import Marts

K = 10


def evaluate(
    settings: Settings,
    clock: Clock,
    marts: Marts,
    states: Path,
    bundle: Path,
    folder: Path | None = None,
    progress: Progress = silent,
    alone: bool = True,
) -> dict[str, Any]:
    """Judge a bundle on [clock.evaluation_cut, clock.as_of); with ``alone``, each of its generators as well.

    Writes into ``folder`` (by default the reports of ``as_of``) ``leaderboard-<digest>.json``, the same as HTML, and
    as Parquet ``users-<digest>`` (every user's NDCG), ``lists-<digest>`` (user_id, item_id, rank, score) and
    ``truth-<digest>`` (user_id, item_id); returns what the JSON holds.

    Raises:
        ValueError: the bundle's models were fitted on events of the window.
    """
    rules = read_rules(settings.rules)
    recommender = Recommender.load(bundle, rules)
    if recommender.manifest["evaluation_cut"] > clock.evaluation_cut.isoformat():
        raise ValueError(
            f"{bundle.name[:12]} was fitted on events before {recommender.manifest['evaluation_cut']}; "
            f"a window from {clock.evaluation_cut.isoformat()} is no judge of it"
        )
    data = read_data(marts, states)
    eligible = eligible_at(data.interactions, clock.evaluation_cut)
    truth = truth_between(data.interactions, clock.evaluation_cut, clock.as_of, eligible)
    mask = eligibility(recommender.catalogue, eligible)
    recommender = recommender.at(ItemState.of(data.items, recommender.catalogue, clock.evaluation_cut, mask))
    mask = recommender.item_state.eligible
    everyone = data.users_at(clock.evaluation_cut)
    rows = truth.rows_of(everyone)

    judged, lists = _judge(recommender, rows, truth, progress, alone)
    report = {
        "bundle": recommender.version,
        "as_of": clock.as_of.isoformat(),
        "window": [clock.evaluation_cut.isoformat(), clock.as_of.isoformat()],
        "rules": rules.digest,
        "k": K,
        "users": rows.num_rows,
        "pairs": truth.table.num_rows,
        "candidates": len(eligible),
        "models": _summary(judged, mask),
        "differences": _differences(judged),
        "reliability": measure_reliability(recommender, everyone, truth, K),
    }
    folder = folder or settings.reports / clock.date
    name = recommender.version[:12]
    ndcg = {model: figures.values["ndcg"] for model, figures in judged.items()}
    tables = {"users": pa.table({USER_ID: rows[USER_ID]} | ndcg), "lists": lists, "truth": truth.table}
    for kind, table in tables.items():
        report[f"{kind}_file"] = str(folder / f"{kind}-{name}.parquet")
        with atomic_file(folder / f"{kind}-{name}.parquet") as temporary:
            pq.write_table(table, temporary)
    write_json(folder / f"leaderboard-{name}.json", report)
    with atomic_file(folder / f"leaderboard-{name}.html") as temporary:
        temporary.write_text(leaderboard_page(report))
    return report


@dataclass(frozen=True)
class Figures:
    """One model's metrics per user, and the items of its lists."""

    values: dict[str, Values]
    items: Integers


def _judge(
    recommender: Recommender, rows: pa.Table, truth: Truth, progress: Progress, alone: bool
) -> tuple[dict[str, Figures], pa.Table]:
    """Metrics per user of the whole and of each generator alone; and the lists of the whole."""
    n_items = len(recommender.catalogue)
    eligible = recommender.item_state.eligible
    parts: dict[str, list[tuple[dict[str, Values], Integers]]] = {}
    listed: list[pa.Table] = []
    user_ids, item_ids = (
        pa.array(ids, pa.string()) for ids in (rows[USER_ID].to_pylist(), recommender.catalogue.item_ids)
    )
    done = 0
    for ranked in recommender.rank(rows, K):
        users = ranked.users
        true_user, true_item = truth.pairs(users.ids, recommender.catalogue)
        relevant = np.zeros((len(users), n_items), bool)
        relevant[true_user, true_item] = True
        totals = truth.relevant(users.ids)
        scores = np.full((len(users), n_items), -np.inf, np.float32)
        scores[ranked.candidates.user, ranked.candidates.item] = ranked.score
        lists = np.full((len(users), K), -1)
        lists[ranked.candidates.user[ranked.chosen], ranked.rank - 1] = ranked.candidates.item[ranked.chosen]
        parts.setdefault(WHOLE, []).append(_figures(lists, scores, relevant, totals, eligible))
        chosen_user, chosen_item = (part[ranked.chosen] for part in (ranked.candidates.user, ranked.candidates.item))
        columns = {USER_ID: user_ids.take(pa.array(done + chosen_user)), ITEM_ID: item_ids.take(pa.array(chosen_item))}
        listed.append(pa.table(columns | {"rank": ranked.rank, "score": ranked.score[ranked.chosen]}))
        for name, scores in ranked.candidates.scores.items() if alone else ():
            top = top_items(scores, K)
            lists = np.where(np.take_along_axis(scores, top, axis=1) > -np.inf, top, -1)
            parts.setdefault(name, []).append(_figures(lists, scores, relevant, totals, eligible))
        done += len(users)
        progress("evaluate", done / rows.num_rows, f"{done:,} of {rows.num_rows:,} users")
    judged = {
        name: Figures(
            {metric: np.concatenate([values[metric] for values, _ in blocks]) for metric in blocks[0][0]},
            np.concatenate([lists for _, lists in blocks]),
        )
        for name, blocks in parts.items()
    }
    return judged, pa.concat_tables(listed)


def _figures(
    lists: Integers, scores: Floats, relevant: npt.NDArray[np.bool_], totals: Integers, eligible: npt.NDArray[np.bool_]
) -> tuple[dict[str, Values], Integers]:
    hits = np.take_along_axis(relevant, np.maximum(lists, 0), axis=1) & (lists >= 0)
    return list_metrics(hits, totals) | {"gauc": user_auc(scores, relevant, eligible)}, lists


def _summary(judged: dict[str, Figures], eligible: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Mean and 95 % interval of every metric, and the share of candidates that stand in any list."""
    summary = {}
    for name, figures in judged.items():
        table = np.column_stack([figures.values[metric] for metric in (*METRICS, "gauc")])
        table = np.where(np.isnan(table), 0.5, table)
        low, high = interval(bootstrap_means(table))
        facts: dict[str, Any] = {
            metric: {"mean": float(table[:, column].mean()), "low": float(low[column]), "high": float(high[column])}
            for column, metric in enumerate((*METRICS, "gauc"))
        }
        shown = np.unique(figures.items[figures.items >= 0])
        facts["coverage"] = len(shown) / int(eligible.sum())
        summary[name] = facts
    return summary


def _differences(judged: dict[str, Figures]) -> dict[str, Any]:
    """Paired difference in NDCG of the whole from every other, with its 95 % interval."""
    names = [name for name in judged if name != WHOLE]
    if not names:
        return {}
    whole = judged[WHOLE].values["ndcg"]
    gaps = np.column_stack([whole - judged[name].values["ndcg"] for name in names])
    low, high = interval(bootstrap_means(gaps))
    means = gaps.mean(axis=0)
    return {
        name: {"mean": float(means[column]), "low": float(low[column]), "high": float(high[column])}
        for column, name in enumerate(names)
    }

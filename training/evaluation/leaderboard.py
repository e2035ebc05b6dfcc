"""The leaderboard: the served recommender, each of its generators alone and the baselines, on one window.

The window is the ``label_days`` before ``as_of``: later than everything the bundle's models were fitted on. Lists are
made by the bundle's own ``Recommender`` from the users' and items' states at the window's start.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training.data import eligibility, eligible_at, read_data
from training.evaluation.figures import KS, K, accuracy, character, owners, paired, summary
from training.evaluation.gate import WHOLE
from training.evaluation.metrics import Values, user_auc
from training.evaluation.reliability import measure_reliability
from training.evaluation.slices import find_slices, score_slices
from training.splits import Truth, truth_between
from zhiyin.clock import Clock
from zhiyin.contract import ITEM_ID, USER_ID
from zhiyin.recommender.candidates.base import Progress, silent, top_items
from zhiyin.recommender.lists import Ranked
from zhiyin.recommender.recommender import Recommender
from zhiyin.recommender.slate.pick import Picked
from zhiyin.recommender.slate.rules import read_rules
from zhiyin.recommender.state.catalogue import Integers, ItemState
from zhiyin.recommender.state.history import History
from zhiyin.settings import Settings
from zhiyin.warehouse import Marts


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    ``report``: every figure, ready for JSON. ``tables``: ``users`` (user_id, NDCG@10 by model), ``lists`` (user_id,
    item_id, rank, score) and ``truth`` (user_id, item_id).
    """

    report: dict[str, Any]
    tables: dict[str, pa.Table]


def evaluate(
    settings: Settings,
    clock: Clock,
    marts: Marts,
    states: Path,
    bundle: Path,
    progress: Progress = silent,
    alone: bool = True,
) -> Evaluation:
    """Evaluate a bundle on [clock.evaluation_cut, clock.as_of); with ``alone``, each of its generators as well.

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

    log = History.of(data.interactions, recommender.catalogue, clock.evaluation_cut)
    judged, lists = _evaluate_models(recommender, rows, truth, log, progress, alone)
    ndcg = {model: figures.values["ndcg@10"] for model, figures in judged.items()}
    report = {
        "bundle": recommender.version,
        "as_of": clock.as_of.isoformat(),
        "window": [clock.evaluation_cut.isoformat(), clock.as_of.isoformat()],
        "rules": rules.digest,
        "k": K,
        "users": rows.num_rows,
        "pairs": truth.table.num_rows,
        "candidates": len(eligible),
        "models": {model: summary(figures.values, figures.lists, mask) for model, figures in judged.items()},
        "differences": paired(ndcg[WHOLE], {model: values for model, values in ndcg.items() if model != WHOLE}),
        "slices": _slices(recommender, rows, truth, log, judged),
        "reliability": measure_reliability(recommender, everyone, truth, K),
    }
    users = pa.table({USER_ID: rows[USER_ID]} | ndcg)
    return Evaluation(report, {"users": users, "lists": lists, "truth": truth.table})


@dataclass(frozen=True)
class Figures:
    """One model's figures per user, and its lists [users, 10], -1 where there is nothing."""

    values: dict[str, Values]
    lists: Integers


def _evaluate_models(
    recommender: Recommender, rows: pa.Table, truth: Truth, log: History, progress: Progress, alone: bool
) -> tuple[dict[str, Figures], pa.Table]:
    """Figures per user of the whole and of each generator alone; and the lists of the whole."""
    n_items = len(recommender.catalogue)
    eligible, buyers = recommender.item_state.eligible, owners(log)
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
        # A list of 20 is that of somebody who asks for 20: its guards are wider.
        longer = recommender.pick(ranked.candidates, ranked.score, max(KS))
        made = {WHOLE: (_lists(ranked, ranked.picked, K), _lists(ranked, longer, max(KS)), scores)}
        for name, scores in ranked.candidates.scores.items() if alone else ():
            top = top_items(scores, max(KS))
            lists = np.where(np.take_along_axis(scores, top, axis=1) > -np.inf, top, -1)
            made[name] = (lists[:, :K], lists, scores)
        for name, (lists, long_lists, scores) in made.items():
            values = accuracy(lists, relevant, totals, KS[:2]) | accuracy(long_lists, relevant, totals, KS[2:])
            values["auc"] = user_auc(scores, relevant, eligible)
            values |= character(lists, users, buyers, log.n_users, recommender.catalogue, recommender.text)
            parts.setdefault(name, []).append((values, lists))
        chosen_user, chosen_item = (part[ranked.chosen] for part in (ranked.candidates.user, ranked.candidates.item))
        columns = {USER_ID: user_ids.take(pa.array(done + chosen_user)), ITEM_ID: item_ids.take(pa.array(chosen_item))}
        listed.append(pa.table(columns | {"rank": ranked.rank, "score": ranked.score[ranked.chosen]}))
        done += len(users)
        progress("evaluate", done / rows.num_rows, f"{done:,} of {rows.num_rows:,} users")
    judged = {
        name: Figures(
            {figure: np.concatenate([values[figure] for values, _ in blocks]) for figure in blocks[0][0]},
            np.concatenate([lists for _, lists in blocks]),
        )
        for name, blocks in parts.items()
    }
    return judged, pa.concat_tables(listed)


def _lists(ranked: Ranked, picked: Picked, k: int) -> Integers:
    """Picked candidates as lists of items [users, k]."""
    lists = np.full((len(ranked.users), k), -1)
    lists[ranked.candidates.user[picked.position], picked.rank - 1] = ranked.candidates.item[picked.position]
    return lists


def _slices(
    recommender: Recommender, rows: pa.Table, truth: Truth, log: History, judged: dict[str, Figures]
) -> dict[str, Any]:
    """The slices as users and items stood at the start of the window."""
    ids = [str(name) for name in rows[USER_ID].to_pylist()]
    known = pc.index_in(pa.array(ids, pa.string()), value_set=pa.array(log.user_ids, pa.string()))
    user = np.asarray(pc.fill_null(known, -1).to_numpy(zero_copy_only=False)).astype(np.int64)
    true_user, true_item = truth.pairs(ids, recommender.catalogue)
    at = np.full(len(ids), log.cut)
    slices = find_slices(log, user, at, log.cut, recommender.catalogue, true_item)
    lists = {name: (figures.values["ndcg@10"], figures.lists) for name, figures in judged.items()}
    return score_slices(slices, lists, true_user, true_item)

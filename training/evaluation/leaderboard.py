"""The leaderboard: the served recommender, each of its generators alone and the baselines, on one holdout.

The holdout is later than everything that the bundle's models were fitted on: the ``label_days`` before ``as_of``, or
the last event of every user where the recipe's protocol is leave one out. Lists are made by the bundle's own
``Recommender`` from the users' and items' states at that moment.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from training.data import read_data
from training.evaluation.figures import KS, K, accuracy, character, means, owners, paired, summary
from training.evaluation.gate import PLAIN, WHOLE
from training.evaluation.metrics import Values, user_auc
from training.evaluation.reliability import measure_reliability
from training.evaluation.slices import Slices, find_slices, score_slices, slice_members
from training.protocols import Split
from training.ranking.window_generators import GENERATORS
from training.splits import States, holdout
from zhiyin.clock import Clock
from zhiyin.contract import ITEM_ID, USER_ID
from zhiyin.recommender.bundle import load_generators
from zhiyin.recommender.candidates import Context
from zhiyin.recommender.candidates.base import Progress, silent, top_items
from zhiyin.recommender.features import users_at_once
from zhiyin.recommender.lists import Ranked
from zhiyin.recommender.recommender import DEFAULT, Recommender, Request
from zhiyin.recommender.slate.pick import Picked
from zhiyin.recommender.slate.rules import read_rules
from zhiyin.recommender.state.catalogue import Floats, Integers
from zhiyin.settings import Settings
from zhiyin.warehouse import Marts

LAG_USERS = 500  # on whom fresh and stale generators are compared


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
    """Evaluate a bundle on the holdout of a run; with ``alone``, each of its generators as well.

    Raises:
        ValueError: the bundle's models were fitted on events of the holdout.
    """
    rules = read_rules(settings.rules) if settings.rules else None
    recommender = Recommender.load(bundle, rules)
    if (
        recommender.recipe.protocol == "next_days"
        and recommender.manifest["fitted_until"] > clock.evaluation_cut.isoformat()
    ):
        raise ValueError(
            f"{bundle.name[:12]} was fitted on events before {recommender.manifest['fitted_until']}; "
            f"a window from {clock.evaluation_cut.isoformat()} cannot evaluate it"
        )
    data = read_data(marts, states)
    recipe = recommender.recipe
    # The bundle's own catalogue may be an earlier one's: indices are its own.
    data = data.over(recommender.catalogue)
    known = data.states_of(recipe)
    everyone, items = holdout(recipe, data.history, known, data.catalogue, clock)
    recommender = recommender.at(items)
    split = everyone.only(everyone.relevant > 0)
    found = score(recommender, split, known, alone=alone, progress=progress)
    ndcg = {model: figures.values["ndcg@10"] for model, figures in found.models.items()}
    slices = _slices(recommender, split)
    ndcg_and_lists = {name: (figures.values["ndcg@10"], figures.lists) for name, figures in found.models.items()}
    report = {
        "bundle": recommender.version,
        "as_of": clock.as_of.isoformat(),
        "window": [clock.evaluation_cut.isoformat(), clock.as_of.isoformat()],
        "protocol": recipe.protocol,
        "rules": recommender.rules.rules.digest,
        "k": K,
        "users": len(split),
        "pairs": len(split.true_item),
        "candidates": len(items.pool),
        "models": {
            model: summary(figures.values, figures.lists, items.eligible) for model, figures in found.models.items()
        },
        "differences": differences(ndcg),
        "slices": score_slices(slices, ndcg_and_lists, split.true_user, split.true_item),
        "reliability": measure_reliability(recommender, everyone, known, K),
    }
    stale = _stale(settings, recommender)
    if stale is not None and alone:
        drawn = split.drawn(LAG_USERS)
        late = score(stale, split.only(drawn), known, progress=progress).models[WHOLE].values["ndcg@10"]
        fresh = ndcg[WHOLE][drawn]
        found_at = means({"fresh": fresh, "stale": late})
        report["lag"] = {
            "days": (clock.evaluation_cut - _cut_of(recommender)).days,
            "users": int(drawn.sum()),
            "fresh": found_at["fresh"],
            "stale": found_at["stale"],
            "fresh_less_stale": paired(fresh, {"stale": late})["stale"],
        }
    users = pa.table({USER_ID: pa.array(split.user_ids, pa.string())} | ndcg)
    truth = {
        USER_ID: pa.array(split.user_ids, pa.string()).take(pa.array(split.true_user)),
        ITEM_ID: pa.array(data.catalogue.item_ids, pa.string()).take(pa.array(split.true_item)),
    }
    inside = slice_members(slices, split.user_ids, data.catalogue.item_ids)
    tables = {"users": users, "lists": found.lists, "truth": pa.table(truth), "slices": inside}
    return Evaluation(report, tables)


def differences(ndcg: dict[str, Values]) -> dict[str, dict[str, float]]:
    """The recommender's NDCG@10 less each other model's, paired; ``ndcg``: of each user, by model.

    Other models keep no place for discoveries, so its lists without such places are compared with theirs.
    """
    like = PLAIN if PLAIN in ndcg else WHOLE
    found = paired(ndcg[like], {model: values for model, values in ndcg.items() if model not in (WHOLE, PLAIN)})
    return found | paired(ndcg[WHOLE], {model: values for model, values in ndcg.items() if model == PLAIN})


def _cut_of(recommender: Recommender) -> datetime:
    """Where the log ends that the latest generators of label windows saw."""
    return datetime.fromisoformat(recommender.manifest["window_generators"]["until"])


def _stale(settings: Settings, recommender: Recommender) -> Recommender | None:
    """The same rankers over the latest generators of label windows: what days without a refit cost.

    None where those generators are not kept any more.
    """
    kept = recommender.manifest.get("window_generators")
    if kept is None or not (folder := settings.window_generators / kept["name"] / GENERATORS).is_dir():
        return None
    context = Context(recommender.catalogue, recommender.text)
    return replace(recommender, generators=load_generators(folder, recommender.recipe, context))


@dataclass(frozen=True)
class Figures:
    """One model's figures per user, its lists [users, 20], -1 where there is nothing, and the scores of their items."""

    values: dict[str, Values]
    lists: Integers
    scores: Floats


@dataclass(frozen=True)
class Batch:
    """Some users of a split from place ``start`` on: the recommender's lists, and the figures of each model."""

    start: int
    ranked: Ranked
    models: dict[str, Figures]


@dataclass(frozen=True)
class Scores:
    """Figures by model over a whole split, and the recommender's lists (user_id, item_id, rank, score)."""

    models: dict[str, Figures]
    lists: pa.Table


def score(
    recommender: Recommender, split: Split, states: States, alone: bool = False, progress: Progress = silent
) -> Scores:
    """Hold a recommender's lists against the answer of a split; with ``alone``, those of its generators as well."""
    parts: dict[str, list[Figures]] = {}
    listed: list[pa.Table] = []
    user_ids, item_ids = (pa.array(ids, pa.string()) for ids in (split.user_ids, recommender.catalogue.item_ids))
    for batch in score_batches(recommender, split, states, alone=alone, progress=progress):
        for name, figures in batch.models.items():
            parts.setdefault(name, []).append(figures)
        ranked, chosen = batch.ranked, batch.ranked.chosen
        user, item = ranked.candidates.user[chosen] + batch.start, ranked.candidates.item[chosen]
        columns = {USER_ID: user_ids.take(pa.array(user)), ITEM_ID: item_ids.take(pa.array(item))}
        listed.append(pa.table(columns | {"rank": ranked.rank, "score": ranked.score[chosen]}))
    found = {
        name: Figures(
            {figure: np.concatenate([each.values[figure] for each in some]) for figure in some[0].values},
            np.concatenate([each.lists for each in some]),
            np.concatenate([each.scores for each in some]),
        )
        for name, some in parts.items()
    }
    return Scores(found, pa.concat_tables(listed))


def score_batches(
    recommender: Recommender,
    split: Split,
    states: States,
    request: Request = DEFAULT,
    alone: bool = False,
    progress: Progress = silent,
) -> Iterator[Batch]:
    """As ``score``, batch by batch.

    The recommender's item state is that of the split's moment; what is eligible in it may be listed.
    """
    buyers = owners(split.log)
    size = users_at_once(len(recommender.item_state.pool))
    for start in range(0, len(split), size):
        stop = min(start + size, len(split))
        ranked = recommender.rank_users(states.users(split, start, stop), K, request)
        users, pool, place = ranked.users, ranked.items.pool, ranked.items.place
        relevant = np.zeros((len(users), len(pool)), bool)
        here = (split.true_user >= start) & (split.true_user < stop) & (place[split.true_item] >= 0)
        relevant[split.true_user[here] - start, place[split.true_item[here]]] = True
        totals = split.relevant[start:stop]
        eligible = np.ones(relevant.shape, bool)
        if ranked.new_only:
            own = place[users.repeats.item]
            eligible[users.repeats.user[own >= 0], own[own >= 0]] = False

        scores = np.full(relevant.shape, -np.inf, np.float32)
        scores[ranked.candidates.user, place[ranked.candidates.item]] = ranked.score
        # A list of 20 is that of somebody who asks for 20: its guards are wider.
        longer = recommender.pick(ranked.candidates, ranked.score, max(KS), users)
        made = {WHOLE: (_lists(ranked, ranked.picked, K), _lists(ranked, longer, max(KS)), scores)}
        if alone and recommender.rules.rules.discoveries and not ranked.new_only:
            short, longer = (recommender.pick(ranked.candidates, ranked.score, k, users, 0.0) for k in (K, max(KS)))
            made[PLAIN] = (_lists(ranked, short, K), _lists(ranked, longer, max(KS)), scores)
        for name, dense in ranked.scored.scores.items() if alone else ():
            scores = np.where(eligible, dense, -np.inf).astype(np.float32)
            top = top_items(scores, max(KS))
            lists = np.where(np.take_along_axis(scores, top, axis=1) > -np.inf, pool[top], -1)
            made[name] = (lists[:, :K], lists, scores)
        models = {}
        for name, (lists, long_lists, scores) in made.items():
            values = accuracy(lists, relevant, totals, place, KS[:2])
            values |= accuracy(long_lists, relevant, totals, place, KS[2:])
            values["auc"] = user_auc(scores, relevant, eligible)
            values["scored"] = (np.isfinite(scores) & eligible).sum(axis=1) / np.maximum(eligible.sum(axis=1), 1)
            values |= character(lists, users, buyers, split.log.n_users, recommender.catalogue, recommender.text)
            # The first ten are those of a list of ten.
            both = np.column_stack([lists, long_lists[:, K:]])
            kept = np.take_along_axis(scores, np.maximum(place[both], 0), axis=1)
            models[name] = Figures(values, both, np.where(both >= 0, kept, -np.inf))
        yield Batch(start, ranked, models)
        progress("evaluate", stop / len(split), f"{stop:,} of {len(split):,} users")


def _lists(ranked: Ranked, picked: Picked, k: int) -> Integers:
    """Picked candidates as lists of items [users, k]."""
    lists = np.full((len(ranked.users), k), -1)
    lists[ranked.candidates.user[picked.position], picked.rank - 1] = ranked.candidates.item[picked.position]
    return lists


def _slices(recommender: Recommender, split: Split) -> Slices:
    """The slices as users and items stood at the moment of the split."""
    moment = recommender.item_state.at
    return find_slices(split.log, split.user, split.at, moment, recommender.catalogue, split.true_item)

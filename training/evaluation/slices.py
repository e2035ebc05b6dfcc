"""Slices: NDCG@10 for some of the users, or for some of the items alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from training.evaluation.figures import K, Mask, means
from training.evaluation.metrics import Values, list_metrics
from zhiyin.contract import ITEM_ID, USER_ID
from zhiyin.recommender.state.catalogue import SECONDS_PER_DAY, Catalogue, Integers
from zhiyin.recommender.state.history import History

RECENT_DAYS = 28
GROUPS = 10  # categories and labels: those that hold most of the answer


@dataclass(frozen=True)
class Slices:
    """By name: which users [users] or which items [items] are in it; ``meaning``: of each, in words."""

    users: dict[str, Mask]
    items: dict[str, Mask]
    meaning: dict[str, str]


def find_slices(
    log: History,
    user: Integers,
    at: npt.NDArray[np.float64],
    moment: float,
    catalogue: Catalogue,
    true_item: Integers,
) -> Slices:
    """The slices of a split.

    ``user`` [users]: indices of ``log.user_ids``, -1 for a user outside the log; ``at`` [users] and ``moment``:
    when users and items are looked at, in epoch seconds; ``true_item`` [pairs]: the answer.
    """
    events = np.bincount(log.user, minlength=log.n_users + 1)[user]
    few, many = np.quantile(events, [1 / 3, 2 / 3])
    users = {
        "new users": at - _first(log.user, log.at, log.n_users + 1)[user] <= RECENT_DAYS * SECONDS_PER_DAY,
        "light users": events <= few,
        "heavy users": events > many,
    }
    items = {"new items": moment - _first(log.item, log.at, log.n_items) <= RECENT_DAYS * SECONDS_PER_DAY}
    meaning = {
        "new users": f"no event yet, or the first at most {RECENT_DAYS} days ago",
        "light users": f"the third with the fewest events: at most {few:.0f}",
        "heavy users": f"the third with the most events: over {many:.0f}",
        "new items": f"no event yet, or the first at most {RECENT_DAYS} days ago",
    }
    counts = catalogue.groups[true_item].sum(axis=0)
    kinds = [("category", name) for name in catalogue.categories] + [("label", name) for name in catalogue.label_names]
    for code in np.argsort(-counts, kind="stable")[:GROUPS]:
        if counts[code]:
            kind, name = kinds[code]
            items[f"{kind} {name}"] = catalogue.groups[:, [code]].toarray()[:, 0] > 0
            meaning[f"{kind} {name}"] = f"items of the {kind}"
    return Slices(users, items, meaning)


def _first(owner: Integers, at: npt.NDArray[np.float64], n: int) -> npt.NDArray[np.float64]:
    """Moment of each owner's first event [n], infinity for none (so that it is new at any moment)."""
    first = np.full(n, np.inf)
    np.minimum.at(first, owner, at)
    return first


def slice_members(slices: Slices, user_ids: list[str], item_ids: list[str]) -> pa.Table:
    """Who and what is in each slice, a row each: ``slice``, and ``user_id`` or ``item_id``, the other null."""
    columns: dict[str, list[str | None]] = {"slice": [], USER_ID: [], ITEM_ID: []}
    for masks, column, ids in ((slices.users, USER_ID, user_ids), (slices.items, ITEM_ID, item_ids)):
        other = ITEM_ID if column == USER_ID else USER_ID
        for name, mask in masks.items():
            inside = np.flatnonzero(mask).tolist()
            columns["slice"] += [name] * len(inside)
            columns[column] += [ids[at] for at in inside]
            columns[other] += [None] * len(inside)
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


def score_slices(
    slices: Slices, models: Mapping[str, tuple[Values, Integers]], true_user: Integers, true_item: Integers
) -> dict[str, Any]:
    """``models``: of each, NDCG@10 per user [users] and its lists [users, at least 10], -1 where there is nothing.

    Of every slice: its meaning, ``users`` (how many have an answer in it), its share of the answer, and of each model
    mean NDCG@10 with its 95 % interval. In a slice of items the lists stay as they are, other items count as misses,
    and ``list_share`` says how many of the places the slice holds.
    """
    n_items = len(next(iter(slices.items.values())))
    answer = np.sort(true_user * n_items + true_item)
    facts: dict[str, Any] = {}
    inside: dict[str, Mask] = {name: member[true_user] for name, member in slices.users.items()}
    inside |= {name: member[true_item] for name, member in slices.items.items()}
    for name, pairs in inside.items():
        facts[name] = {
            "meaning": slices.meaning[name],
            "users": len(np.unique(true_user[pairs])),
            "answer_share": float(pairs.mean()),
            "models": {},
        }
    for model, (ndcg, lists) in models.items():
        shown = lists[:, :K]
        there = shown >= 0
        found = there & np.isin(np.arange(len(shown))[:, None] * n_items + shown, answer)
        values = {name: np.where(member, ndcg, np.nan) for name, member in slices.users.items()}
        for name, member in slices.items.items():
            totals = np.bincount(true_user[inside[name]], minlength=len(shown))
            part = list_metrics(found & member[shown], totals)["ndcg"]
            values[name] = np.where(totals > 0, part, np.nan)
        for name, figure in means(values).items():
            facts[name]["models"][model] = figure
            if name in slices.items:
                facts[name]["models"][model]["list_share"] = float((slices.items[name][shown] & there).sum()) / max(
                    int(there.sum()), 1
                )
    return facts

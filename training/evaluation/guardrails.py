"""The guardrails: what a challenger must not harm while its mean is good: slices, calibration, coverage, users.

Slices are those of the challenger's evaluation for both bundles: by its own catalogue an earlier bundle would not know
the newest items.
"""

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from training.evaluation.figures import K
from training.evaluation.gate_rules import GateRules
from training.evaluation.metrics import Values, bootstrap_means, interval, list_metrics
from zhiyin.contract import ITEM_ID, USER_ID
from zhiyin.recommender.state.catalogue import Integers
from zhiyin.registry import Check

SLICE = "slice"


@dataclass(frozen=True)
class Gap:
    """Mean paired difference over ``users`` with its 95 % interval, and the mean of the one that was held against."""

    mean: float
    low: float
    high: float
    users: int
    base: float

    @classmethod
    def of(cls, ours: Values, theirs: Values) -> "Gap":
        """Of all users, by bootstrap."""
        gap = ours - theirs
        low, high = interval(bootstrap_means(gap[:, None]))
        return cls(float(gap.mean()), float(low[0]), float(high[0]), len(gap), float(theirs.mean()))

    @classmethod
    def of_one_among(cls, count: int, ours: Values, theirs: Values) -> "Gap":
        """With an interval so wide that all of ``count`` such intervals hold at once in 95 % (Bonferroni), by the
        normal distribution of a mean. Users without a figure (NaN) do not count.
        """
        known = ~np.isnan(ours) & ~np.isnan(theirs)
        gap = (ours - theirs)[known]
        mean, error = float(gap.mean()), float(gap.std()) / len(gap) ** 0.5
        reach = NormalDist().inv_cdf(1 - 0.025 / count) * error
        return cls(mean, mean - reach, mean + reach, len(gap), float(theirs[known].mean()))

    def __str__(self) -> str:
        return f"NDCG@{K} {self.mean:+.4f} ({self.low:+.4f} to {self.high:+.4f})"

    @property
    def figures(self) -> dict[str, float]:
        return {"mean": self.mean, "low": self.low, "high": self.high}


def check_slices(challenger: dict[str, Any], champion: dict[str, Any], rules: GateRules) -> list[Check]:
    """One check for each slice that lost too much, or one that says which came out worst."""
    values = slice_values(challenger, champion)
    many = {name: both for name, both in values.items() if np.sum(~np.isnan(both[0])) >= rules.slice_users}
    gaps = {name: Gap.of_one_among(len(many), *both) for name, both in many.items()}
    lost = {name: gap for name, gap in gaps.items() if gap.high < -rules.slice_margin * gap.base}
    if lost:
        return [
            Check(f"slice {name}", False, f"loses more than {rules.slice_margin:.0%} on {name}: {gap}", gap.figures)
            for name, gap in lost.items()
        ]
    if not gaps:
        return [Check("slices", True, f"no slice has {rules.slice_users} users")]
    name, worst = min(gaps.items(), key=lambda entry: entry[1].high / max(entry[1].base, 1e-9))
    words = f"no slice loses more than {rules.slice_margin:.0%} for certain; the worst is {name}: {worst}"
    return [Check("slices", True, words, worst.figures)]


def slice_values(challenger: dict[str, Any], champion: dict[str, Any]) -> dict[str, tuple[Values, Values]]:
    """Of each slice, NDCG@10 per user of challenger and champion, NaN outside it. In a slice of items all other items
    are misses.
    """
    truth = pq.read_table(challenger["truth_file"])
    members = pq.read_table(challenger["slices_file"])
    lists = [pq.read_table(report["lists_file"], filters=[("rank", "<=", K)]) for report in (challenger, champion)]
    users = pc.unique(truth[USER_ID].combine_chunks())
    items = pc.unique(pa.chunked_array([chunk for table in (truth, *lists) for chunk in table[ITEM_ID].chunks]))
    true_user, true_item = _places(truth[USER_ID], users), _places(truth[ITEM_ID], items)
    answer = np.sort(true_user * len(items) + true_item)
    shown = [_lists(table, users, items) for table in lists]
    hits = [(each >= 0) & np.isin(np.arange(len(users))[:, None] * len(items) + each, answer) for each in shown]

    def ndcg(of_items: np.ndarray[Any, Any]) -> list[Values]:
        """Of both, where only some of the items count; NaN for users without such an answer."""
        totals = np.bincount(true_user[of_items[true_item]], minlength=len(users))
        found = [hit & of_items[each] for hit, each in zip(hits, shown, strict=True)]
        return [np.where(totals > 0, list_metrics(part, totals)["ndcg"], np.nan) for part in found]

    whole = ndcg(np.ones(len(items), bool))
    slices: dict[str, tuple[Values, Values]] = {}
    for name in pc.unique(members[SLICE]).to_pylist():
        inside = members.filter(pc.equal(members[SLICE], name))
        if inside[USER_ID].null_count == inside.num_rows:
            ours, theirs = ndcg(_mask(inside[ITEM_ID], items))
        else:
            mask = _mask(inside[USER_ID], users)
            ours, theirs = (np.where(mask, values, np.nan) for values in whole)
        slices[name] = ours, theirs
    return slices


def _places(values: pa.ChunkedArray, known: pa.Array) -> Integers:
    places = pc.fill_null(pc.index_in(values, value_set=known), -1)
    return np.asarray(
        places.to_numpy(zero_copy_only=False) if isinstance(places, pa.Array) else places.to_numpy(), np.int64
    )


def _mask(values: pa.ChunkedArray, known: pa.Array) -> np.ndarray[Any, np.dtype[np.bool_]]:
    places = _places(values, known)
    mask = np.zeros(len(known), bool)
    mask[places[places >= 0]] = True
    return mask


def _lists(table: pa.Table, users: pa.Array, items: pa.Array) -> Integers:
    """Items of each user's list [users, K], -1 where there is nothing."""
    lists = np.full((len(users), K), -1, np.int64)
    user = _places(table[USER_ID], users)
    known = user >= 0
    lists[user[known], table["rank"].to_numpy()[known] - 1] = _places(table[ITEM_ID], items)[known]
    return lists


def check_calibration(challenger: dict[str, Any], champion: dict[str, Any] | None, rules: GateRules) -> Check:
    """The expected calibration error of listed items, against a limit or against the champion's."""
    ours, theirs = _calibration_error(challenger), _calibration_error(champion or {})
    if ours is None:
        words = "no probabilities to check: no user was held out for them"
        return Check("calibration", theirs is None, words if theirs is None else f"{words}, and the champion has them")
    if champion is None:
        limit = rules.calibration_error_first
    else:
        limit = (
            rules.calibration_error
            if theirs is None
            else max(rules.calibration_error, theirs + rules.calibration_worse)
        )
    beside = "" if theirs is None else f", the champion's {theirs:.3f}"
    words = f"probabilities of listed items are off by {ours:.3f} on average{beside}, the limit is {limit:.3f}"
    return Check("calibration", ours <= limit, words, {"error": ours, "limit": limit})


def _calibration_error(report: dict[str, Any]) -> float | None:
    return ((report.get("reliability") or {}).get("listed") or {}).get("ece")


def check_coverage(challenger: dict[str, Any], champion: dict[str, Any], model: str, rules: GateRules) -> Check:
    """How much of the catalogue the lists show, against the champion's."""
    ours, theirs = (float(report["models"][model][f"coverage@{K}"]) for report in (challenger, champion))
    limit = rules.coverage_share * theirs
    words = f"lists show {ours:.1%} of the items, the champion's {theirs:.1%}; the limit is {limit:.1%}"
    return Check("coverage", ours >= limit, words, {"coverage": ours, "limit": limit})


def check_users(users: int, promoted_on: int | None, first: bool, rules: GateRules) -> Check:
    """Whether so many users can tell two models apart, and are as many as one may expect.

    ``promoted_on``: users on whom the champion was judged when it was promoted, None where unknown; ``first``: there is
    no champion, and a list that was proved on few users is better than none.
    """
    figures = {"users": float(users)}
    if users < rules.least_users:
        words = f"{users:,} users are too few to tell two models apart (the least is {rules.least_users:,})"
        if first:
            words = f"WARNING: {words}; as there is no champion, it is enough to beat the baselines by the mean"
        return Check("users", first, words, figures)
    if promoted_on and users < rules.users_share * promoted_on:
        words = (
            f"judged on {users:,} users, the champion on {promoted_on:,} when it was promoted: over half are missing; "
            "look whether all data has landed"
        )
        return Check("users", False, words, figures)
    return Check("users", True, f"judged on {users:,} users", figures)

"""The guardrails: what a challenger must not harm while its mean is good: slices, calibration, coverage, users.

Slices are those of the challenger's evaluation for both bundles: by its own catalogue an earlier bundle would not know
the newest items.
"""

from typing import Any

import numpy as np
import pyarrow.compute as pc

from training.evaluation.answer import Answer, Gap, mask_of
from training.evaluation.figures import K
from training.evaluation.gate_rules import GateRules
from training.evaluation.metrics import Values
from zhiyin.contract import ITEM_ID, USER_ID
from zhiyin.registry import Check
from zhiyin.store.sql import read_table

SLICE = "slice"


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
    answer = Answer.of(challenger, champion)
    members = read_table(challenger["slices_file"])
    whole = answer.ndcg()
    slices: dict[str, tuple[Values, Values]] = {}
    for name in pc.unique(members[SLICE]).to_pylist():
        inside = members.filter(pc.equal(members[SLICE], name))
        if inside[USER_ID].null_count == inside.num_rows:
            ours, theirs = answer.ndcg(mask_of(inside[ITEM_ID], answer.items))
        else:
            mask = mask_of(inside[USER_ID], answer.users)
            ours, theirs = (np.where(mask, values, np.nan) for values in whole)
        slices[name] = ours, theirs
    return slices


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

    ``promoted_on``: users on whom the champion was evaluated when it was promoted, None where unknown; ``first``: there
    is no champion, and a bundle evaluated on few users is better than none.
    """
    figures = {"users": float(users)}
    least = rules.first_by_interval if first else rules.least_users
    if users < least:
        words = f"{users:,} users are too few to tell two models apart (the least is {least:,})"
        if first:
            words = f"WARNING: {words}; as there is no champion, it is enough to beat the baselines by the mean"
        return Check("users", first, words, figures)
    if promoted_on and users < rules.users_share * promoted_on:
        words = (
            f"evaluated on {users:,} users, the champion on {promoted_on:,} when it was promoted: over half are "
            "missing; check that all data has landed"
        )
        return Check("users", False, words, figures)
    return Check("users", True, f"evaluated on {users:,} users", figures)

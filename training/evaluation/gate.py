"""The gate: a challenger is promoted when it beats the baselines, has lost no more than a margin, and harms nothing.

Two comparisons keep small losses from adding up: with the champion, and with a reference, the best promotion of the
last weeks. Both are evaluated on the challenger's window, by bundles that were fitted before it.
"""

from typing import Any

from training.evaluation.answer import Answer, Gap
from training.evaluation.gate_rules import GateRules
from training.evaluation.guardrails import check_calibration, check_coverage, check_slices, check_users
from zhiyin.registry import Check, Decision

WHOLE = "zhiyin"
PLAIN = "zhiyin, no place kept for discoveries"
BASELINES = ("popularity", "personal_frequency")


def gate(
    challenger: dict[str, Any],
    champion: dict[str, Any] | None = None,
    reference: dict[str, Any] | None = None,
    rules: GateRules | None = None,
    promoted_on: int | None = None,
    held: str | None = None,
) -> Decision:
    """Decide from evaluations (what ``evaluate`` returns) on the same window.

    Args:
        champion: of the champion's evaluated bundle; None where there is no other champion.
        reference: of the reference's evaluated bundle; None where that is the champion, or there is none.
        promoted_on: users on whom the champion was evaluated when it was promoted.
        held: why the challenger's lineage is on hold, None where it is not.

    Raises:
        ValueError: the evaluations are of different windows, or an earlier version wrote one.
    """
    rules = rules or GateRules()
    if "slices_file" not in challenger:
        raise ValueError("the challenger was evaluated by an earlier version: run the step evaluate again")
    first, users = champion is None, int(challenger["users"])
    checks = [Check("hold", False, f"is of a lineage on hold: {held}")] if held else []
    checks.append(check_users(users, promoted_on, first, rules))
    by_mean = first and users < rules.first_by_interval
    checks += [_beats(name, challenger["differences"][name], by_mean) for name in BASELINES]
    if champion is None:
        checks.append(Check("champion", True, "there is no other champion to compare with"))
    else:
        checks.append(_holds_against("champion", challenger, champion, rules))
    if reference is not None:
        checks.append(_holds_against("reference", challenger, reference, rules))
    checks.append(check_calibration(challenger, champion, rules))
    if champion is not None:
        checks.append(check_coverage(challenger, champion, WHOLE, rules))
        checks += check_slices(challenger, champion, rules)
    reigning, best = (report["bundle"] if report else None for report in (champion, reference))
    return Decision(challenger["bundle"], tuple(checks), reigning, best, users)


def _beats(name: str, gap: dict[str, float], by_mean: bool) -> Check:
    beaten = bool(gap["mean" if by_mean else "low"] > 0)
    words = f"NDCG@10 {gap['mean']:+.4f} ({gap['low']:+.4f} to {gap['high']:+.4f})"
    return Check(name, beaten, f"{'beats' if beaten else 'does not beat'} {name}: {words}", dict(gap))


def _holds_against(name: str, challenger: dict[str, Any], other: dict[str, Any], rules: GateRules) -> Check:
    """Non-inferiority: the lower end of the paired difference's interval is above the margin below zero."""
    gap = paired_difference(challenger, other)
    margin = rules.margin * gap.base
    passed = gap.low >= -margin
    figures = gap.figures | {"margin": margin}
    than = f"the {name} {other['bundle'][:12]} by more than {rules.margin:.0%} ({margin:.4f})"
    if passed:
        return Check(name, True, f"is not worse than {than}: {gap}", figures)
    words = f"{'is' if gap.high < -margin else 'may be'} worse than {than}: {gap}"
    width = (gap.high - gap.low) / 2
    if width > margin:  # an equal would be refused, too
        enough = gap.users * (width / margin) ** 2
        words += (
            f"; {gap.users:,} users tell no closer than {width:.4f}. It takes some {enough:,.0f} users (a longer "
            f"ZHIYIN_LABEL_DAYS has more), or ZHIYIN_GATE_MARGIN={width / gap.base * 1.2:.2f}"
        )
    return Check(name, False, words, figures)


def paired_difference(challenger: dict[str, Any], other: dict[str, Any]) -> Gap:
    """Mean over users of one's NDCG@10 less the other's on one answer, with its 95 % interval (bootstrap over users).

    Raises:
        ValueError: they were evaluated on different windows.
    """
    return Gap.of(*Answer.of(challenger, other).ndcg())

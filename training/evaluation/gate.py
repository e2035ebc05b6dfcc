"""The gate: a challenger is promoted only when it beats the baselines and is not clearly worse than the champion."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from training.evaluation.metrics import bootstrap_means, interval
from zhiyin.contract import USER_ID

WHOLE = "zhiyin"
BASELINES = ("popularity", "personal_frequency")


@dataclass(frozen=True)
class Decision:
    """``promote``, why, and the paired difference in NDCG@10 from the champion (None without one)."""

    promote: bool
    reasons: list[str]
    challenger: str
    champion: str | None = None
    difference: dict[str, float] | None = field(default=None)


def gate(challenger: dict[str, Any], champion: dict[str, Any] | None = None) -> Decision:
    """Decide from two evaluations (what ``evaluate`` returns) on the same window.

    A challenger must beat every baseline's mean NDCG@10. Against a champion it is refused when the 95 % interval of
    the paired difference (bootstrap over users) lies below zero.

    Raises:
        ValueError: the evaluations are of different windows.
    """
    reasons: list[str] = []
    promote = True
    for name in BASELINES:
        gap = challenger["differences"][name]
        if gap["mean"] > 0:
            reasons.append(f"beats {name}: {_words(gap)}")
        else:
            promote = False
            reasons.append(f"does not beat {name}: {_words(gap)}")
    if champion is None:
        return Decision(promote, [*reasons, "there is no champion yet"], challenger["bundle"])
    if champion["window"] != challenger["window"]:
        raise ValueError(
            f"challenger was judged on {challenger['window']}, champion on {champion['window']}: "
            "evaluate the champion on the challenger's window first"
        )
    difference = paired_difference(challenger, champion)
    if difference["high"] < 0:
        promote = False
        reasons.append(f"is worse than the champion: {_words(difference)}")
    elif difference["low"] > 0:
        reasons.append(f"is better than the champion: {_words(difference)}")
    else:
        reasons.append(f"is no worse than the champion: {_words(difference)}")
    return Decision(promote, reasons, challenger["bundle"], champion["bundle"], difference)


def paired_difference(challenger: dict[str, Any], champion: dict[str, Any]) -> dict[str, float]:
    """Mean over users of the NDCG of one minus the other's, with its 95 % interval."""
    ours, theirs = (
        pq.read_table(evaluation["users_file"], columns=[USER_ID, WHOLE]).sort_by(USER_ID)
        for evaluation in (challenger, champion)
    )
    if not ours[USER_ID].equals(theirs[USER_ID]):
        raise ValueError("challenger and champion were judged on different users: evaluate both on the same marts")
    gap = ours[WHOLE].to_numpy() - theirs[WHOLE].to_numpy()
    low, high = interval(bootstrap_means(gap[:, None]))
    return {"mean": float(np.mean(gap)), "low": float(low[0]), "high": float(high[0])}


def _words(gap: dict[str, float]) -> str:
    return f"NDCG@10 {gap['mean']:+.4f} ({gap['low']:+.4f} to {gap['high']:+.4f})"

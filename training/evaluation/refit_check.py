"""Checks of a refitted bundle before it is served: it has no holdout, so it is compared with the evaluated bundle."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from zhiyin.clock import Clock
from zhiyin.contract import FEATURE_AT, USER_ID
from zhiyin.recommender.lists import Ranked
from zhiyin.recommender.recommender import Recommender, Request
from zhiyin.recommender.slate.rules import read_rules
from zhiyin.settings import Settings
from zhiyin.store.sql import read_table

USERS = 200
K = 10
LEAST_OVERLAP = 0.35  # of two lists of ten: 14 more days of a log change some of a list, not all of it


def check_refit(settings: Settings, clock: Clock, states: Path, judged: Path, served: Path) -> dict[str, Any]:
    """Compare a refitted bundle with the evaluated one, for a sample of users in their state at ``as_of``.

    Scores are finite; golden requests (an unknown user, new items, items left out, given candidates) are answered as
    they must be; and the lists share at least ``LEAST_OVERLAP`` of their items, on average.

    Raises:
        ValueError: a check failed; the message names it and what was found.
    """
    rules = read_rules(settings.rules) if settings.rules else None
    one, two = (Recommender.load(bundle, rules) for bundle in (judged, served))
    rows = read_table(states / "users.parquet", equal={FEATURE_AT: clock.as_of})
    chosen = np.random.default_rng(0).permutation(rows.num_rows)[:USERS]
    rows = rows.take(pa.array(np.sort(chosen)))
    shared: list[float] = []
    for before, after in zip(one.rank(rows, K), two.rank(rows, K), strict=True):
        if not np.isfinite(after.score[after.chosen]).all():
            raise ValueError(f"the refitted bundle {served.name[:12]} gives scores that are no numbers")
        pairs = zip(_lists(before, one), _lists(after, two), strict=True)
        shared += [len(earlier & later) / max(len(earlier), 1) for earlier, later in pairs]
    overlap = float(np.mean(shared)) if shared else 1.0
    if overlap < LEAST_OVERLAP:
        raise ValueError(
            f"the refitted bundle {served.name[:12]} lists only {overlap:.0%} of what the evaluated one lists "
            f"(at least {LEAST_OVERLAP:.0%}); it is not served"
        )
    _check_golden_requests(two, rows)
    return {"judged": judged.name, "served": served.name, "users": len(shared), "overlap@10": overlap}


def _lists(ranked: Ranked, recommender: Recommender) -> list[set[str]]:
    found: list[set[str]] = [set() for _ in ranked.users.ids]
    for place in ranked.chosen:
        found[ranked.candidates.user[place]].add(recommender.catalogue.item_ids[ranked.candidates.item[place]])
    return found


def _check_golden_requests(recommender: Recommender, rows: pa.Table) -> None:
    """Requests whose right answer is known.

    Raises:
        ValueError: one was answered otherwise.
    """
    (unknown,) = recommender.recommend([{USER_ID: "golden-unknown"}], K)
    problems = set() if unknown.items and unknown.missing == ["unknown_user"] else {"an unknown user"}
    for row in [row for row in rows.to_pylist() if row.get("repeat_item_ids")][:5]:

        def listed(row: dict[str, Any] = row, **narrowed: Any) -> list[str]:
            (slate,) = recommender.recommend([row], K, request=Request(**narrowed))
            return [item.item_id for item in slate.items]

        first = listed()[:3]
        if set(listed(new_only=True)) & set(row["repeat_item_ids"]):
            problems.add("what is new to a user")
        if set(listed(exclude=[first])) & set(first):
            problems.add("items left out")
        if not set(listed(candidates=first)) <= set(first):
            problems.add("given candidates")
    if problems:
        raise ValueError(
            f"the refitted bundle {recommender.version[:12]} fails golden requests: {', '.join(sorted(problems))}; "
            "it is not served"
        )

"""Appends the events of the live session to the sequence of a user's stored row."""

from collections.abc import Collection, Mapping
from typing import Any

from zhiyin.contract import FEATURE_AT


def with_session(row: dict[str, Any], session: Mapping[str, Any], types: Collection[str]) -> dict[str, Any]:
    """The row with the session's events at or after ``feature_at`` appended to its sequence.

    ``session``: parallel lists ``session_item_ids``, ``session_types`` and ``session_at`` (epoch seconds), oldest
    first. ``types``: the event types that the models were trained on. Events of other types are left out: the models
    do not know them, and a reason would name an action that did not happen (law 6). Events of one moment are one
    basket.
    """
    since = row[FEATURE_AT].timestamp() if row.get(FEATURE_AT) else float("-inf")
    events = [
        (item, kind, at)
        for item, kind, at in zip(
            session["session_item_ids"], session["session_types"], session["session_at"], strict=True
        )
        if at >= since and kind in types
    ]
    if not events:
        return row
    baskets = list(row.get("sequence_baskets") or [])
    basket, moment = max(baskets, default=-1), float("-inf")
    for _, _, at in events:
        basket += at > moment
        moment = at
        baskets.append(basket)
    added = {
        "sequence_item_ids": [item for item, _, _ in events],
        "sequence_types": [kind for _, kind, _ in events],
        "sequence_at": [int(at) for _, _, at in events],
        "sequence_values": [None if kind == "rating" else 1.0 for _, kind, _ in events],  # a session knows no grades
    }
    return {
        **row,
        **{name: [*(row.get(name) or []), *values] for name, values in added.items()},
        "sequence_baskets": baskets,
    }

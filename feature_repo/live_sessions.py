"""Live sessions in the online store: brought up to date by events, and read at a request.

The row of a session holds its events, so a push needs the new ones only, and the caller keeps no state. One writer per
store at a time: of two that push for the same user at once, the later row holds.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from feast import FeatureStore, FeatureView

from feature_repo.online_store import online_store, write_rows
from feature_repo.session import SESSION_FEATURES, USER_SESSION, Step, latest_events
from feature_repo.store import open_store
from zhiyin.contract import FEATURE_AT, ITEM_ID, OCCURRED_AT, USER_ID
from zhiyin.settings import Settings

ROWS = pa.schema(
    {
        USER_ID: pa.string(),
        FEATURE_AT: pa.timestamp("us", tz="UTC"),
        "session_item_ids": pa.list_(pa.string()),
        "session_types": pa.list_(pa.string()),
        "session_at": pa.list_(pa.float64()),
        "session_values": pa.list_(pa.float64()),
        "session_amounts": pa.list_(pa.float64()),
        "session_baskets": pa.list_(pa.string()),
        "session_queries": pa.list_(pa.string()),
    }.items()
)

COLUMNS = (  # in the order of a step
    "session_at",
    "session_item_ids",
    "session_types",
    "session_values",
    "session_amounts",
    "session_baskets",
    "session_queries",
)


class Sessions:
    """Construction touches nothing; the store is opened by the first call. Used by one thread at a time.

    Every call raises LookupError where there is no online store, and what the store raises where it fails.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opened: FeatureStore
        self._view: FeatureView
        self._token: str | None = None

    @property
    def _store(self) -> FeatureStore:
        """The store as it is now: reopened after it was lost and rebuilt."""
        token = online_store(self._settings).token()
        if token is None:
            raise LookupError(f"no online store of {self._settings.dataset}; materialize the features")
        if token != self._token:
            self._opened = open_store(self._settings)
            self._view = self._opened.get_feature_view(USER_SESSION)
            self._token = token
        return self._opened

    def push(self, events: Iterable[Mapping[str, Any]]) -> int:
        """Bring the sessions of some users up to date; returns how many users.

        ``events``: new ones, in the contract's columns, ``occurred_at`` with its time zone; one that the session holds
        already changes nothing.
        """
        steps: dict[str, list[Step]] = defaultdict(list)
        for event in events:
            steps[event[USER_ID]].append(_step(event))
        for user, row in self._rows(list(steps)).items():
            steps[user] += zip(*(row[name] for name in COLUMNS), strict=True)
        rows = [_row(user, latest_events(events)) for user, events in sorted(steps.items())]
        # What Feast's own push does, without decoding the whole registry twice for each one.
        write_rows(self._store, self._view, pa.RecordBatch.from_pylist(rows, ROWS), FEATURE_AT)
        return len(rows)

    def latest(self, user_id: str) -> dict[str, Any] | None:
        """The columns of the user's latest session, None where there is none."""
        return self._rows([user_id]).get(user_id)

    def _rows(self, users: list[str]) -> dict[str, dict[str, Any]]:
        """The latest session of each user that has one."""
        names = [f"{USER_SESSION}:{name}" for name in SESSION_FEATURES]
        answer = self._store.get_online_features(names, [{USER_ID: user} for user in users]).to_dict()
        rows = (dict(zip(answer, values, strict=True)) for values in zip(*answer.values(), strict=True))
        return {row[USER_ID]: row for row in rows if row["session_at"]}


def _step(event: Mapping[str, Any]) -> Step:
    value, amount = (-1.0 if event.get(name) is None else float(event[name]) for name in ("value", "amount"))
    moment, item = event[OCCURRED_AT].timestamp(), event[ITEM_ID] or ""
    basket = event.get("basket_id") or event.get("event_id") or f"{moment} {item}"
    return moment, item, event["event_type"], value, amount, basket, event.get("query_text") or ""


def _row(user: str, events: list[Step]) -> dict[str, Any]:
    columns = dict(zip(COLUMNS, zip(*events, strict=True), strict=True))
    return {USER_ID: user, FEATURE_AT: datetime.fromtimestamp(events[-1][0], UTC), **columns}

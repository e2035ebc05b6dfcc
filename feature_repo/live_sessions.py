"""Live sessions in the online store: brought up to date by events, and read at a request.

The row of a session holds its events, so a push needs the new ones only, and the caller keeps no state. One writer per
store at a time: of two that push for the same user at once, the later row holds.
"""

from datetime import UTC, datetime
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from feast import FeatureStore, FeatureView

from feature_repo.online_store import online_store, write_rows
from feature_repo.point_in_time import connect
from feature_repo.session import SESSION_FEATURES, USER_SESSION, session_states
from feature_repo.store import open_store
from zhiyin.contract import FEATURE_AT, ITEM_ID, OCCURRED_AT, USER_ID
from zhiyin.settings import Settings

EVENTS = pa.schema(
    {
        USER_ID: pa.string(),
        ITEM_ID: pa.string(),
        "category": pa.string(),
        "event_type": pa.string(),
        "amount": pa.float64(),
        OCCURRED_AT: pa.timestamp("us", tz="UTC"),
    }.items()
)
STARTED = "session_started_at"
_LATEST = f"qualify row_number() over (partition by {USER_ID} order by {FEATURE_AT} desc) = 1 order by {USER_ID}"
_PARALLEL = ("session_item_ids", "session_categories", "session_types", "session_amounts", "session_at")


class Sessions:
    """Construction touches nothing; the store is opened by the first call. Used by one thread at a time.

    Every call raises LookupError where there is no online store, and what the store raises where it fails.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opened: FeatureStore
        self._view: FeatureView
        self._token: str | None = None
        self._connection: duckdb.DuckDBPyConnection | None = None

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

    def push(self, events: pa.Table) -> int:
        """Bring the sessions of some users up to date; returns how many users.

        ``events``: new events in the columns ``EVENTS``; one that the session holds already changes nothing.
        """
        before = self._rows(pc.unique(events[USER_ID]).to_pylist())
        table = pa.concat_tables([events.select(EVENTS.names).cast(EVENTS), _events_of(before)])
        if self._connection is None:
            self._connection = connect(self._settings)  # kept: opening one takes longer than the query
        self._connection.register("delivered", table)
        known = "select distinct * replace (coalesce(category, '') as category, coalesce(amount, 0) as amount)"
        states = session_states(self._connection, f"{known} from delivered")
        answer = states.query("states", f"from states {_LATEST}")
        assert answer is not None  # only a statement without rows has none
        latest = answer.to_arrow_table()
        self._connection.unregister("delivered")
        # A continued session keeps its start, also when its first events are no longer kept.
        users, started = (latest[name].to_pylist() for name in (USER_ID, STARTED))
        began = [
            old[STARTED] if old and moment <= old["session_last_event_at"] else moment
            for old, moment in zip(map(before.get, users), started, strict=True)
        ]
        latest = latest.set_column(latest.column_names.index(STARTED), STARTED, pa.array(began, EVENTS.types[-1]))
        # What Feast's own push does, without decoding the whole registry twice for each one.
        for batch in latest.to_batches():
            write_rows(self._store, self._view, batch, FEATURE_AT)
        return len(users)

    def latest(self, user_id: str) -> dict[str, Any] | None:
        """The columns of the user's latest session, None where there is none."""
        return self._rows([user_id]).get(user_id)

    def read(self, user_id: str, requested_at: datetime) -> dict[str, Any]:
        """The user's latest session and what the request's moment makes of it, None for what is unknown."""
        service = self._store.get_feature_service(USER_SESSION)
        row = {USER_ID: user_id, "requested_at": int(requested_at.timestamp())}
        answer = self._store.get_online_features(service, [row]).to_dict()
        return {name: values[0] for name, values in answer.items()}

    def _rows(self, users: list[str]) -> dict[str, dict[str, Any]]:
        """The latest session of each user that has one."""
        names = [f"{USER_SESSION}:{name}" for name in SESSION_FEATURES]
        answer = self._store.get_online_features(names, [{USER_ID: user} for user in users]).to_dict()
        rows = (dict(zip(answer, values, strict=True)) for values in zip(*answer.values(), strict=True))
        return {row[USER_ID]: row for row in rows if row["session_item_ids"]}


def _events_of(rows: dict[str, dict[str, Any]]) -> pa.Table:
    """The events that the rows of sessions hold."""
    events = [
        {
            USER_ID: user,
            ITEM_ID: item,
            "category": category,
            "event_type": kind,
            "amount": amount,
            OCCURRED_AT: datetime.fromtimestamp(at, UTC),
        }
        for user, row in rows.items()
        for item, category, kind, amount, at in zip(*(row[name] for name in _PARALLEL), strict=True)
    ]
    return pa.Table.from_pylist(events, EVENTS)

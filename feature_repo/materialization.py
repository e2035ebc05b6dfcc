"""Materialization of the online store up to ``as_of``: a whole view the first time, then increments.

Feast's own ``materialize_incremental`` starts at *now* minus the time to live: on a history that ended years ago it
writes nothing, raises nothing and marks the interval as done. So the watermarks are ours. A mark also has the token of
the store that was written, and a digest of the view's definition and of the history below it; when any of them changed
(another store, a new feature, a late event) an increment would leave old values online, and the view is written anew.
Marts of snapshots are always rewritten: their earlier rows differ at each ``as_of``, and writing the latest row of
every user costs as much as an increment. Keys that are in the store and no longer in the history, because the user was
erased or ``as_of`` went back, are removed.

Memory is bounded: DuckDB finds the rows within ``settings.memory_limit``, which must hold a row group of the widest
mart, and ``ROWS`` of them at a time become what Feast writes. (Feast's own ``materialize`` holds a whole view.)
"""

import logging
from datetime import UTC, datetime
from typing import Any

import duckdb
import pyarrow as pa
from feast import FeatureStore, FeatureView

from feature_repo import session
from feature_repo.definitions import TTL_DAYS, USER_STATE
from feature_repo.online_store import OnlineStore, online_store, write_rows
from feature_repo.point_in_time import connect, latest_query, source_query
from feature_repo.store import mart_views, open_run, watermark_path
from zhiyin.clock import Clock
from zhiyin.settings import Settings
from zhiyin.store import json_digest, read_json, write_json

log = logging.getLogger(__name__)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ROWS = 500  # written at once; a user's whole history is some 50 kB, and several times that as Python values


def materialize(settings: Settings, clock: Clock) -> dict[str, str]:
    """Write the values as of ``clock.as_of`` of every online view into the online store.

    An ``as_of`` before the watermark rewrites the view as of then.

    Returns:
        What was done, by view: ``full``, ``increment`` or ``current`` (nothing to do).

    Raises:
        ValueError: the published marts have another ``as_of`` than the clock, or were not applied.
    """
    store, _ = open_run(settings, clock)
    online = online_store(settings)
    token = online.prepare()
    path = watermark_path(settings)
    marks: dict[str, Any] = read_json(path) if path.exists() else {}
    done: dict[str, str] = {}
    now: dict[str, Any] = {}
    absent: dict[str, list[str]] = {}
    views = online_views(store)
    with connect(settings) as connection:
        # DuckDB reads 2,048 rows at a time in each thread, and those of the longest histories are 400 MB.
        connection.execute("set threads = 1")
        for view in views:
            mark = marks.get(view.name, {})
            start = _start(connection, view, mark, clock, token)
            if start is None:
                done[view.name] = "current"
            else:
                rows = _write(connection, store, view, start, clock.as_of)
                absent[view.name] = _absent_keys(connection, online, view, clock.as_of)
                done[view.name] = "full" if start == EPOCH else "increment"
                written = {"rows": rows, "materialized_at": datetime.now(UTC).isoformat(timespec="seconds")}
                mark = _mark(connection, view, clock.as_of, token) | written
            now[view.name] = {**mark, TTL_DAYS: int(view.tags[TTL_DAYS])}
            log.info("%s: %s to %s", view.name, done[view.name], clock.date)
        # The marts' own views last: a run that is cut short before finds the same keys absent again.
        _forget(connection, store, online, views, absent, clock.as_of)
        for view in views:
            online.remove(view, absent.get(view.name, []))
    # Written once, at the end, so that all views of a row have one moment.
    write_json(path, now)
    return done


def online_views(store: FeatureStore) -> list[FeatureView]:
    """The views behind the user state, in the order of the service."""
    return mart_views(store, store.get_feature_service(USER_STATE))


def _start(
    connection: duckdb.DuckDBPyConnection, view: FeatureView, mark: dict[str, Any], clock: Clock, token: str
) -> datetime | None:
    """The moment after which the view must be written; None: it is up to date."""
    if not mark:
        return EPOCH
    until = datetime.fromisoformat(mark["until"])
    if until > clock.as_of or not _mark(connection, view, until, token).items() <= mark.items():
        return EPOCH
    return None if until == clock.as_of else until


def _mark(connection: duckdb.DuckDBPyConnection, view: FeatureView, until: datetime, token: str) -> dict[str, Any]:
    """The mark of a view whose history up to ``until`` is in the online store."""
    definition = sorted((field.name, str(field.dtype)) for field in view.features)
    return {
        "until": until.isoformat(),
        "store": token,
        "definition": json_digest(definition),
        "history": _history_digest(connection, view, until),
    }


def _history_digest(connection: duckdb.DuckDBPyConnection, view: FeatureView, until: datetime) -> str:
    """A digest, independent of their order, of the view's rows up to ``until``."""
    query = f"select count(*), sum(hash(history)) from ({source_query(view)}) as history where known_from <= ?"
    ((rows, digest),) = connection.execute(query, [until]).fetchall()
    return f"{rows}:{digest}"


def _write(
    connection: duckdb.DuckDBPyConnection, store: FeatureStore, view: FeatureView, after: datetime, until: datetime
) -> int:
    """Write the latest row in (``after``, ``until``] of every key; return how many there were."""
    rows = 0
    latest = connection.sql(latest_query(view), params={"after": after, "until": until})
    for batch in latest.to_arrow_reader(ROWS):
        write_rows(store, view, batch, "known_from")
        rows += batch.num_rows
    store.registry.apply_materialization(view, store.project, after, until)
    return rows


def _absent_keys(
    connection: duckdb.DuckDBPyConnection, online: OnlineStore, view: FeatureView, until: datetime
) -> list[str]:
    """Keys that are in the store and not in the history up to ``until``."""
    return sorted({key for keys in online.keys(view) for key in _unknown(connection, view, keys, until)})


def _unknown(connection: duckdb.DuckDBPyConnection, view: FeatureView, keys: list[str], until: datetime) -> list[str]:
    connection.register("candidates", pa.table({"key": pa.array(keys, pa.string())}))
    query = (
        f"select key from candidates anti join (select {view.join_keys[0]} as key from ({source_query(view)})"
        " where known_from <= $until) as history using (key)"
    )
    return [key for (key,) in connection.execute(query, {"until": until}).fetchall()]


def _forget(
    connection: duckdb.DuckDBPyConnection,
    store: FeatureStore,
    online: OnlineStore,
    views: list[FeatureView],
    absent: dict[str, list[str]],
    until: datetime,
) -> None:
    """Of users that no mart knows any more, drop also what does not come from a mart: the session."""
    users = sorted({key for keys in absent.values() for key in keys})
    for view in views:
        users = _unknown(connection, view, users, until)
    if users:
        online.remove(store.get_feature_view(session.USER_SESSION), users)
        log.info("%d users are in no mart any more and were removed", len(users))

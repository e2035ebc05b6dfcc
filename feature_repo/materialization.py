"""The online store is brought to ``as_of``: all of a view the first time, afterwards what is new.

Feast's own ``materialize_incremental`` starts at *now* minus the time to live: on a history that ended years ago it
writes nothing, says nothing and marks the interval as done. So the watermarks are ours. A mark also holds a digest of
the view's definition and of the history below it; when either changed (a new feature, a late event) an increment
would leave old values online, and the view is written anew. Marts of snapshots are always written anew: their
earlier rows are others at each ``as_of``, and the latest row of every user is the same work as an increment.
"""

import logging
from datetime import UTC, datetime
from typing import Any

import duckdb
from feast import FeatureStore, FeatureView

from feature_repo.definitions import USER_STATE
from feature_repo.store import file_source, open_run, watermark_path
from zhiyin.clock import Clock
from zhiyin.settings import Settings
from zhiyin.store import json_digest, read_json, write_json

log = logging.getLogger(__name__)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def materialize(settings: Settings, clock: Clock) -> dict[str, str]:
    """Write the values as of ``clock.as_of`` of every online view into the online store.

    An ``as_of`` before the watermark takes the store back: the view is emptied and written as it was then.

    Returns:
        What was done, by view: ``full``, ``increment`` or ``current`` (nothing was to do).

    Raises:
        ValueError: the published marts stand at another moment than ``clock.as_of``, or were not applied.
    """
    store, _ = open_run(settings, clock)
    path = watermark_path(settings)
    marks: dict[str, Any] = read_json(path) if path.exists() else {}
    done: dict[str, str] = {}
    now: dict[str, Any] = {}
    for view in online_views(store):
        mark = marks.get(view.name)
        start = _start(settings, view, mark, clock)
        if mark and datetime.fromisoformat(mark["until"]) > clock.as_of:
            _empty(store, view)
        if start is not None:
            store.materialize(start, clock.as_of, feature_views=[view.name])
        done[view.name] = "current" if start is None else "full" if start == EPOCH else "increment"
        now[view.name] = _mark(settings, view, clock.as_of)
        log.info("%s: %s to %s", view.name, done[view.name], clock.date)
    # Written once, at the end: what a reader calls the moment of its row is one moment for all views.
    write_json(path, now)
    return done


def online_views(store: FeatureStore) -> list[FeatureView]:
    """The views behind the user state, in the order of the service."""
    service = store.get_feature_service(USER_STATE)
    return [store.get_feature_view(projection.name) for projection in service.feature_view_projections]


def _start(settings: Settings, view: FeatureView, mark: dict[str, Any] | None, clock: Clock) -> datetime | None:
    """From when on the view must be written; None: it holds already what it should."""
    if mark is None:
        return EPOCH
    until = datetime.fromisoformat(mark["until"])
    if until > clock.as_of or mark != _mark(settings, view, until):
        return EPOCH
    return None if until == clock.as_of else until


def _mark(settings: Settings, view: FeatureView, until: datetime) -> dict[str, Any]:
    """What the online store holds of a view once its history up to ``until`` is written."""
    definition = sorted((field.name, str(field.dtype)) for field in view.features)
    return {
        "until": until.isoformat(),
        "definition": json_digest(definition),
        "history": _history_digest(settings, view, until),
    }


def _history_digest(settings: Settings, view: FeatureView, until: datetime) -> str:
    """A digest of the view's rows up to ``until``, whatever their order."""
    source = file_source(view)
    query = f"select count(*), sum(hash(mart)) from read_parquet(?) as mart where {source.timestamp_field} <= ?"
    with duckdb.connect(config={"threads": settings.threads}) as connection:
        ((rows, digest),) = connection.execute(query, [source.path, until.replace(tzinfo=None)]).fetchall()
    return f"{rows}:{digest}"


def _empty(store: FeatureStore, view: FeatureView) -> None:
    """Drop what is online of a view; a row from the future would otherwise stay where the past has none."""
    service = store.get_feature_service(USER_STATE)
    store.apply([], objects_to_delete=[view], partial=False)
    store.apply([view, service])

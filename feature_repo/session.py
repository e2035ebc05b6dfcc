"""What a user is doing now: the session's events, pushed as they happen, and what follows from them at a request.

A session is a user's events without a pause of more than ``PAUSE``. Its state after an event is computed by one query
from the events alone, whether they are those of a live session or the whole log; what a request adds (hour, weekday,
the basket so far) by one function, which Feast runs online and in training.
"""

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from feast import FeatureService, FeatureView, Field, FileSource, PushSource, RequestSource
from feast.data_format import ParquetFormat
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.types import Array, FeastType, Float64, Int64, String, UnixTimestamp

from feature_repo.definitions import USER
from feature_repo.point_in_time import connect, quoted
from zhiyin.contract import FEATURE_AT, INTERACTIONS, ITEM_ID, ITEMS, OCCURRED_AT, USER_ID
from zhiyin.settings import Settings
from zhiyin.store import atomic_file
from zhiyin.warehouse import current

USER_SESSION = "user_session"
REQUEST_CONTEXT = "request_context"
PUSH = "user_session_push"

PAUSE = timedelta(minutes=30)
LONGEST = 50  # events of a session that are kept, the latest

SESSION_FEATURES: dict[str, tuple[FeastType, str]] = {
    "session_item_ids": (Array(String), f"Items of the session's events, oldest first, the latest {LONGEST}."),
    "session_categories": (Array(String), "The category of each, empty where unknown."),
    "session_types": (Array(String), "The type of each event."),
    "session_amounts": (Array(Float64), "Money of each, 0 where unknown."),
    "session_at": (Array(Float64), "The moment of each, in epoch seconds."),
    "session_basket_item_ids": (Array(String), "Of these, the items put into the basket or bought."),
    "session_basket_amounts": (Array(Float64), "Money of each of them."),
    "session_started_at": (UnixTimestamp, "First event of the session."),
    "session_last_event_at": (UnixTimestamp, "Latest event of the session."),
}

# Events of one moment are one step, in the order of their items, so that the arrays do not depend on how they arrived.
_STATES = f"""
with steps as (
    select
        {USER_ID}, {OCCURRED_AT}::timestamptz as moment,
        list({{
            'item': {ITEM_ID}, 'category': coalesce(category, ''), 'type': event_type,
            'amount': coalesce(amount, 0)::double, 'at': epoch({OCCURRED_AT}::timestamptz)
        }} order by {ITEM_ID}, event_type, amount) as events
    from events
    group by all
),
paused as (
    select
        *,
        moment - lag(moment) over (partition by {USER_ID} order by moment) > interval '{PAUSE.seconds} seconds' as pause
    from steps
),
numbered as (
    select *, count(*) filter (where pause) over (partition by {USER_ID} order by moment) as session from paused
),
kept as (
    select
        {USER_ID}, moment,
        flatten(list(events) over so_far)[-{LONGEST}:] as events,
        min(moment) over so_far as started
    from numbered
    window so_far as (partition by {USER_ID}, session order by moment rows unbounded preceding)
)
select
    {USER_ID}, moment as {FEATURE_AT},
    [event.item for event in events] as session_item_ids,
    [event.category for event in events] as session_categories,
    [event.type for event in events] as session_types,
    [event.amount for event in events] as session_amounts,
    [event.at for event in events] as session_at,
    [event.item for event in events if event.type in ('cart', 'purchase')] as session_basket_item_ids,
    [event.amount for event in events if event.type in ('cart', 'purchase')] as session_basket_amounts,
    started as session_started_at,
    moment as session_last_event_at
from kept
"""


def view(settings: Settings) -> FeatureView:
    """The session after each event: pushed online by the service, from the log in training."""
    log = FileSource(
        name=f"{USER_SESSION}_log",
        path=str(source_path(settings)),
        file_format=ParquetFormat(),
        timestamp_field=FEATURE_AT,
    )
    return FeatureView(
        name=USER_SESSION,
        description="The user's latest session, after each of its events.",
        entities=[USER],
        ttl=timedelta(0),  # whether it is over is for the request's moment to say, not for the wall clock
        schema=[Field(name=name, dtype=dtype, description=text) for name, (dtype, text) in SESSION_FEATURES.items()],
        source=PushSource(name=PUSH, batch_source=log),
    )


def request_context(views: Iterable[FeatureView]) -> OnDemandFeatureView:
    """What the moment of a request adds to the session."""
    request = RequestSource(name="request", schema=[Field(name="requested_at", dtype=Int64)])  # epoch seconds
    (session,) = (view for view in views if view.name == USER_SESSION)
    return OnDemandFeatureView(
        name=REQUEST_CONTEXT,
        description="Hour and weekday of the request (UTC, 0 is Monday); different items in the basket so far, and "
        "their money, each as it came last; 0 when the session is over.",
        sources=[session, request],
        schema=[
            Field(name="request_hour", dtype=Int64),
            Field(name="request_weekday", dtype=Int64),
            Field(name="basket_size", dtype=Int64),
            Field(name="basket_value", dtype=Float64),
        ],
        mode="python",
        udf=contexts,  # type: ignore[arg-type]
        udf_string=f"from {__name__} import {contexts.__name__}",  # what readers of the registry execute
    )


def service(views: Iterable[FeatureView]) -> FeatureService:
    """Session and request together."""
    views = list(views)
    (session,) = (view for view in views if view.name == USER_SESSION)
    members: list[Any] = [session, request_context(views)]
    return FeatureService(name=USER_SESSION, features=members, description="The session, and the request in it.")


def contexts(inputs: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The on-demand features of each row."""
    moments = [int(moment) for moment in inputs["requested_at"]]
    sizes, values = [], []
    baskets = inputs["session_basket_item_ids"], inputs["session_basket_amounts"], inputs["session_last_event_at"]
    for at, items, amounts, last in zip(moments, *baskets, strict=True):
        alive = items is not None and last is not None and 0 <= at - last.timestamp() <= PAUSE.total_seconds()
        basket = dict(zip(items, amounts, strict=True)) if alive else {}
        sizes.append(len(basket))
        values.append(float(sum(basket.values())))
    return {
        "request_hour": [moment // 3600 % 24 for moment in moments],
        "request_weekday": [(moment // 86_400 + 3) % 7 for moment in moments],  # 1970 began on a Thursday
        "basket_size": sizes,
        "basket_value": values,
    }


def source_path(settings: Settings) -> Path:
    return settings.features / USER_SESSION / "all.parquet"


def session_states(connection: duckdb.DuckDBPyConnection, events: pa.Table | str) -> duckdb.DuckDBPyRelation:
    """A row per user and moment of an event: the session after it.

    ``events``: a table, or the SQL of one, with user_id, item_id, category, event_type, amount and occurred_at.
    """
    if isinstance(events, str):
        connection.execute(f"create or replace temp view events as {events}")
    else:
        connection.register("events", events)
    return connection.sql(_STATES)


def write_session_history(settings: Settings) -> Path:
    """Write the sessions of the published log, for training: the source of the view."""
    marts = current(settings)
    interactions, items = (quoted(str(marts.path(mart))) for mart in (INTERACTIONS, ITEMS))
    events = (
        f"select interactions.*, items.category from read_parquet({interactions}) as interactions"
        f" left join read_parquet({items}) as items using ({ITEM_ID})"
    )
    path = source_path(settings)
    with atomic_file(path) as temporary, connect(settings) as connection:
        states = session_states(connection, events).order(f"{USER_ID}, {FEATURE_AT}")
        states.write_parquet(str(temporary), compression="zstd")
    return path

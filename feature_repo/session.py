"""The view of what a user did since the last run: live events, which the service pushes as they happen.

The stored state covers what happened before it; the recommender applies the events after it to that state.
"""

from collections.abc import Collection
from datetime import timedelta

from feast import FeatureService, FeatureView, Field, FileSource, PushSource
from feast.data_format import ParquetFormat
from feast.types import Array, FeastType, Float64, String

from feature_repo.definitions import USER
from zhiyin.contract import FEATURE_AT
from zhiyin.settings import Settings

USER_SESSION = "user_session"
PUSH = "user_session_push"

LONGEST = 300  # live events of a user that are kept, the latest
KEPT = timedelta(days=28)  # before the latest of them

SESSION_FEATURES: dict[str, tuple[FeastType, str]] = {
    "session_item_ids": (Array(String), f"Items of the live events, oldest first, the latest {LONGEST}; empty: none."),
    "session_types": (Array(String), "The type of each event."),
    "session_at": (Array(Float64), "The moment of each, in epoch seconds."),
    "session_values": (Array(Float64), "Pieces or grade of each, -1 where unknown."),
    "session_amounts": (Array(Float64), "Money of each, -1 where unknown."),
    "session_baskets": (Array(String), "The basket of each."),
    "session_queries": (Array(String), "The words of each search; empty: none."),
}

Step = tuple[float, str, str, float, float, str, str]  # moment, item, type, value, amount, basket, query


def latest_events(events: Collection[Step]) -> list[Step]:
    """The live events of one user that are kept, oldest first.

    Events of one moment stand in the order of their items, so that they do not depend on how they arrived; an event
    that is there twice counts once.
    """
    steps = sorted(set(events))[-LONGEST:]
    return [step for step in steps if step[0] >= steps[-1][0] - KEPT.total_seconds()]


def view(settings: Settings) -> FeatureView:
    """The user's live events, online only.

    Feast wants a file below every view that is pushed to. Nothing writes this one: no model learns from sessions.
    """
    log = FileSource(
        name=f"{USER_SESSION}_log",
        path=str(settings.features / USER_SESSION / "all.parquet"),
        file_format=ParquetFormat(),
        timestamp_field=FEATURE_AT,
    )
    return FeatureView(
        name=USER_SESSION,
        description="The user's live events, after each of them.",
        entities=[USER],
        ttl=timedelta(0),  # whether it is over is for the request's moment to say, not for the wall clock
        schema=[Field(name=name, dtype=dtype, description=text) for name, (dtype, text) in SESSION_FEATURES.items()],
        source=PushSource(name=PUSH, batch_source=log),
    )


def service(session: FeatureView) -> FeatureService:
    """A service of its own: a session is no part of the user state, which training reads point in time."""
    return FeatureService(name=USER_SESSION, features=[session], description="The user's live events.")

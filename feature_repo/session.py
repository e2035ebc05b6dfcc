"""The view of what a user is doing now, and what makes a session of events.

A session is a user's events without a pause of more than ``PAUSE``. The service pushes them as they happen; the stored
sequence of the user's state covers what happened before.
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

PAUSE = timedelta(minutes=30)
LONGEST = 50  # events of a session that are kept, the latest

SESSION_FEATURES: dict[str, tuple[FeastType, str]] = {
    "session_item_ids": (Array(String), f"Items of the session's events, oldest first, the latest {LONGEST}."),
    "session_types": (Array(String), "The type of each event."),
    "session_at": (Array(Float64), "The moment of each, in epoch seconds."),
}

Step = tuple[float, str, str]  # epoch seconds, item, event type


def latest_session(events: Collection[Step]) -> list[Step]:
    """The latest session of one user's events, oldest event first.

    Events of one moment stand in the order of their items, so that the session does not depend on how they arrived;
    an event that is there twice counts once.
    """
    steps = sorted(set(events))
    start = len(steps) - 1
    while start > 0 and steps[start][0] - steps[start - 1][0] <= PAUSE.total_seconds():
        start -= 1
    return steps[max(start, len(steps) - LONGEST) :]


def view(settings: Settings) -> FeatureView:
    """The user's latest session, online only.

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
        description="The user's latest session, after each of its events.",
        entities=[USER],
        ttl=timedelta(0),  # whether it is over is for the request's moment to say, not for the wall clock
        schema=[Field(name=name, dtype=dtype, description=text) for name, (dtype, text) in SESSION_FEATURES.items()],
        source=PushSource(name=PUSH, batch_source=log),
    )


def service(session: FeatureView) -> FeatureService:
    """A service of its own: a session is no part of the user state, which training reads point in time."""
    return FeatureService(name=USER_SESSION, features=[session], description="The user's latest session.")

"""The service's clock: the wall clock, or that of a log that is replayed.

Where the item state is older than ``REPLAYED``, the log has ended and its days are lived again: the clock starts at
midnight of the state's day when the service starts, and a request without a moment of its own comes when its user's
latest event did. So lists and events of a replayed log carry its dates, and their next run lands them.
"""

from datetime import UTC, datetime, timedelta

REPLAYED = timedelta(days=90)
SLOW_CLOCK = timedelta(minutes=5)  # how far a caller's clock may be ahead


class ServiceClock:
    """Wall time is only carried along; what it is by the log follows from the state's ``as_of``."""

    def __init__(self) -> None:
        self._day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)

    def now(self, as_of: datetime | None) -> datetime:
        """The moment; ``as_of``: of the item state, None while there is none."""
        wall = datetime.now(UTC)
        return as_of + (wall - self._day) if as_of is not None and replayed(as_of, wall) else wall

    def requested(self, as_of: datetime) -> float | None:
        """The moment of a request in epoch seconds; None: when its user's latest event was."""
        wall = datetime.now(UTC)
        return None if replayed(as_of, wall) else wall.timestamp()


def replayed(as_of: datetime, wall: datetime) -> bool:
    """Whether the log of a state has ended long ago."""
    return wall - as_of > REPLAYED

"""The one clock: every moment a run decides on derives from ``as_of``, the end of the run's data interval."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from zhiyin.contract import LABEL_WINDOWS

FIRST_MONDAY = datetime(1970, 1, 5, tzinfo=UTC)
FOUR_WEEKS = timedelta(days=28)


def fourth_monday(moment: datetime) -> datetime:
    """The latest of every fourth Monday, 00:00 UTC, at or before a moment.

    Generators that propose for label windows are fitted on what is before one, so most days' runs share them.
    """
    return moment - (moment - FIRST_MONDAY) % FOUR_WEEKS


@dataclass(frozen=True)
class Clock:
    """The moments of one run.

    ``as_of`` is midnight UTC: events at or after it do not exist for the run. The models are judged on the
    ``label_days`` from ``evaluation_cut`` to ``as_of``, and those that are judged saw nothing of them.

    The ranker learns from ``windows`` windows of ``label_days``, end to end. Of the judged ranker they start at
    ``judged_cuts`` and end at ``evaluation_cut``; of one that is fitted to the last day they start at ``served_cuts``
    and end at ``as_of``. So with whole weeks they start on the weekday on which lists are made: people's rhythm is
    weekly, and a ranker of other weekdays is worse (docs/lab/ranker.md).
    """

    as_of: datetime
    label_days: int = 14
    windows: int = LABEL_WINDOWS

    def __post_init__(self) -> None:
        if self.as_of.tzinfo is None or self.as_of.astimezone(UTC).timetz().replace(tzinfo=None) != datetime.min.time():
            raise ValueError(f"as_of must be midnight UTC, got {self.as_of.isoformat()}")
        if self.windows < 1:
            raise ValueError(f"a ranker learns from at least 1 window, got windows={self.windows}")

    @classmethod
    def parse(cls, as_of: str, label_days: int = 14, windows: int = LABEL_WINDOWS) -> "Clock":
        """From ``YYYY-MM-DD``, or an ISO timestamp at midnight UTC."""
        try:
            moment = datetime.fromisoformat(as_of)
        except ValueError:
            raise ValueError(f"as_of must be a date such as 2017-12-01, got {as_of!r}") from None
        return cls(moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC), label_days, windows)

    @property
    def date(self) -> str:
        """``as_of`` as ``YYYY-MM-DD``."""
        return self.as_of.strftime("%Y-%m-%d")

    def label_cuts(self, end: datetime) -> tuple[datetime, ...]:
        """Where the latest ``windows`` label windows up to ``end`` start, oldest first."""
        days = timedelta(days=self.label_days)
        return tuple(end - number * days for number in range(self.windows, 0, -1))

    @property
    def evaluation_cut(self) -> datetime:
        return self.as_of - timedelta(days=self.label_days)

    @property
    def reference_cut(self) -> datetime:
        """Two windows before ``as_of``: what drift is measured from."""
        return self.as_of - timedelta(days=2 * self.label_days)

    @property
    def judged_cuts(self) -> tuple[datetime, ...]:
        """Where the windows start on which the judged ranker learns, oldest first."""
        return self.label_cuts(self.evaluation_cut)

    @property
    def served_cuts(self) -> tuple[datetime, ...]:
        """Where the windows start on which a ranker learns that is fitted to the last day, oldest first."""
        return self.label_cuts(self.as_of)

    @property
    def ranking_cut(self) -> datetime:
        """The earliest moment at which a ranker learns: what all of its windows share was taught before it (law 4)."""
        return min(*self.judged_cuts, *self.served_cuts)

    @property
    def snapshots(self) -> tuple[datetime, ...]:
        """The moments at which user and item states are read, each once, oldest first."""
        moments = {*self.judged_cuts, *self.served_cuts, self.reference_cut, self.evaluation_cut, self.as_of}
        return tuple(sorted(moments))

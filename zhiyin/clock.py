"""The one clock: every moment a run decides on derives from ``as_of``, the end of the run's data interval."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from zhiyin.contract import LABEL_WINDOWS, RANKING_WINDOWS


@dataclass(frozen=True)
class Clock:
    """The moments of one run.

    ``as_of`` is midnight UTC: events at or after it do not exist for the run. The models are fitted on events before
    ``evaluation_cut`` and judged on the ``label_days`` from there to ``as_of``. The ranker learns from the
    ``RANKING_WINDOWS`` windows as long before that, each with candidate models fitted before it; the earliest starts at
    ``ranking_cut``.
    """

    as_of: datetime
    label_days: int = 14
    windows: int = LABEL_WINDOWS

    def __post_init__(self) -> None:
        if self.as_of.tzinfo is None or self.as_of.astimezone(UTC).timetz().replace(tzinfo=None) != datetime.min.time():
            raise ValueError(f"as_of must be midnight UTC, got {self.as_of.isoformat()}")

    @classmethod
    def parse(cls, as_of: str, label_days: int = 14) -> "Clock":
        """From ``YYYY-MM-DD``, or an ISO timestamp at midnight UTC."""
        try:
            moment = datetime.fromisoformat(as_of)
        except ValueError:
            raise ValueError(f"as_of must be a date such as 2017-12-01, got {as_of!r}") from None
        return cls(moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC), label_days)

    @property
    def date(self) -> str:
        """``as_of`` as ``YYYY-MM-DD``."""
        return self.as_of.strftime("%Y-%m-%d")

    @property
    def evaluation_cut(self) -> datetime:
        return self.as_of - timedelta(days=self.label_days)

    @property
    def ranking_cut(self) -> datetime:
        return self.snapshots[0]

    def label_cuts(self, end: datetime) -> tuple[datetime, ...]:
        """The latest Mondays whose label window ends at or before ``end``, ``windows`` of them, oldest first."""
        latest = end - timedelta(days=self.label_days)
        monday = latest.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=latest.weekday())
        return tuple(monday - timedelta(weeks=number) for number in range(self.windows - 1, -1, -1))

    @property
    def reference_cut(self) -> datetime:
        """Two windows before ``as_of``: what drift is measured from."""
        return self.as_of - timedelta(days=2 * self.label_days)

    @property
    def snapshots(self) -> tuple[datetime, ...]:
        """The moments at which user and item states are read, oldest first: ``as_of`` and the start of every window."""
        windows = range(RANKING_WINDOWS + 1, -1, -1)
        return tuple(self.as_of - timedelta(days=number * self.label_days) for number in windows)

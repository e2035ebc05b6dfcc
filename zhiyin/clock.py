"""The one clock: every moment a run decides on derives from ``as_of``, the end of the run's data interval."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True)
class Clock:
    """The moments of one run.

    ``as_of`` is midnight UTC: events at or after it do not exist for the run. The models are fitted on events before
    ``evaluation_cut`` and judged on the ``label_days`` from there to ``as_of``. The ranker learns from the
    ``label_days`` before ``evaluation_cut``, with candidate models fitted before ``ranking_cut``.
    """

    as_of: datetime
    label_days: int = 14

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
        return self.as_of - timedelta(days=2 * self.label_days)

    @property
    def snapshots(self) -> tuple[datetime, datetime, datetime]:
        """The moments at which user and item states are read, oldest first."""
        return self.ranking_cut, self.evaluation_cut, self.as_of

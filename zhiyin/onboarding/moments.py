"""How the moments of a source are read: its zone, its format, and the SQL of the UTC moment, tried on the source."""

from dataclasses import dataclass
from typing import Any

import duckdb

from zhiyin.landing.source import Source
from zhiyin.onboarding.mapping import Proposal, UnclearError
from zhiyin.onboarding.profile import Column, Profile, connect
from zhiyin.store.sql import quote

BROKEN_SHARE = 0.05  # above this share of unreadable moments the expression is not the right one
EPOCHS = ((1e11, 1_000_000), (1e14, 1_000), (1e17, 1))  # largest number of seconds, milli- and microseconds -> factor


@dataclass(frozen=True)
class SourceClock:
    """How the moments of a source are to be read.

    Raises:
        UnclearError: DuckDB knows no such zone, moment or interval.
    """

    time_format: str | None = None  # of strptime
    time_zone: str = "UTC"  # of moments without a time zone
    epoch: str = "2000-01-01"  # of position 0
    step: str = "1 day"  # between two positions

    def __post_init__(self) -> None:
        for flag, value, sql, cure in (
            ("--time-zone", self.time_zone, "timestamp '2000-01-01' at time zone {}", "a zone such as Europe/Berlin"),
            ("--epoch", self.epoch, "timestamp {}", "a moment such as 2000-01-01"),
            ("--step", self.step, "interval {}", "an interval such as '12 hours'"),
        ):
            try:
                with duckdb.connect() as connection:
                    connection.execute(f"select {sql.format(quote(value))}")
            except duckdb.Error:
                raise UnclearError(f"{flag} {value!r} is not known; say {cure}") from None


def moment(source: Source, column: Column, clock: SourceClock, part: str) -> str:
    """SQL of a column's UTC moments, tried on the source.

    Raises:
        UnclearError: too many values cannot be read; the message has an example and the flag.
    """
    with connect(source) as connection:
        relation = source.relation()
        kind, *_ = connection.execute(f"select typeof({column.sql}) from {relation} limit 1").fetchall()[0]
        if clock.time_format:
            expression = f"try_strptime({column.sql}::varchar, {quote(clock.time_format)})"
        elif kind == "TIMESTAMP WITH TIME ZONE":
            return f"{column.sql} at time zone 'UTC'"
        elif kind.startswith("TIMESTAMP") or kind == "DATE":
            expression = f"{column.sql}::timestamp"
        else:
            expression, done = _text_moment(connection, relation, column)
            if done:
                return expression
        if clock.time_zone != "UTC":
            expression = f"({expression} at time zone {quote(clock.time_zone)}) at time zone 'UTC'"
        broken, rows, example = connection.execute(
            f"select count(*) filter (where ({expression}) is null), count(*),"
            f" any_value({column.sql}::varchar) filter (where ({expression}) is null) from {relation}"
        ).fetchall()[0]
    if broken > BROKEN_SHARE * rows:
        raise UnclearError(
            f"events.{part}: {broken} of {rows} values of {column.name} are no moment, such as {example!r}; say how "
            "they are written, such as --time-format '%d/%m/%Y %H:%M', or name another column"
        )
    return expression


def _text_moment(connection: Any, relation: str, column: Column) -> tuple[str, bool]:
    """SQL of a moment that came as text or number, and whether it is UTC already."""
    number = f"try_cast({column.sql} as double)"
    largest, numbers, zoned, rows = connection.execute(
        f"select max({number}), count({number}), count(*) filter (where"
        f" regexp_matches({column.sql}::varchar, ':\\d\\d(\\.\\d+)?(Z|[+-]\\d\\d(:?\\d\\d)?)$')), count({column.sql})"
        f" from {relation}"
    ).fetchall()[0]
    if numbers > (1 - BROKEN_SHARE) * rows and largest > 1e8:
        factor = next((factor for limit, factor in EPOCHS if largest < limit), None)
        if factor is not None:
            return f"make_timestamp(({number} * {factor})::bigint)", True
    if zoned > (1 - BROKEN_SHARE) * rows:
        return f"try_cast({column.sql} as timestamptz) at time zone 'UTC'", True
    return f"try_cast({column.sql} as timestamp)", False


def moments_of(profile: Profile, proposal: Proposal, clock: SourceClock) -> str:
    """SQL of the moment of an event: of its column, or of its position."""
    events = proposal.columns["events"]
    if "occurred_at" in events:
        return moment(profile.source, events["occurred_at"], clock, "occurred_at")
    position = events["position"]
    return f"timestamp {quote(clock.epoch)} + try_cast({position.sql} as bigint) * interval {quote(clock.step)}"

"""What became of the events of a build: kept, duplicates, set aside by reason."""

import duckdb

from zhiyin.settings import Settings
from zhiyin.store.sql import open_database


def fates(settings: Settings) -> list[str]:
    """A line for all events, and one for those of the days that the last build wrote, where it did not write all."""
    with open_database(settings.warehouse, read_only=True) as connection:
        since = connection.execute("select since from increment.current").fetchall()[0][0]
        lines = [_line(connection, "events before " + str(_as_of(connection)), "true")]
        if since is not None and str(since) > "0001-01-01 00:00:00":
            lines.append(_line(connection, f"of them since {since:%Y-%m-%d}", f"occurred_at >= timestamp '{since}'"))
    return lines


def _as_of(connection: duckdb.DuckDBPyConnection) -> str:
    return str(connection.execute("select as_of::date from increment.current").fetchall()[0][0])


def _line(connection: duckdb.DuckDBPyConnection, what: str, rows: str) -> str:
    reasons = connection.execute(
        "select rejected_because, count(*), sum(deliveries) from int_events"
        f" where {rows} group by all order by 2 desc, 1"
    ).fetchall()
    events = sum(count for _, count, _ in reasons)
    delivered = sum(int(deliveries) for *_, deliveries in reasons)
    kept = sum(count for reason, count, _ in reasons if reason is None)
    duplicates, aside = delivered - events, events - kept
    line = f"{what}: {delivered:,} delivered, {kept:,} kept, {duplicates:,} duplicates, {aside:,} set aside"
    why = "; ".join(f"{reason} {count:,}" for reason, count, _ in reasons if reason is not None)
    return f"{line} ({why})" if why else line

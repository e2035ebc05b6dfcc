"""A raw table: its source, and what the source must provide."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from zhiyin.landing.source import Source

ALL_ROWS = "true"
NO_DAY = "0001-01-01"  # the day of rows whose moment cannot be read, which staging sets aside
DELIVERIES = ("append", "replace", "snapshot")


@dataclass(frozen=True)
class RawTable:
    """A table as a source delivers it.

    ``day`` is the SQL expression of the date that a row belongs to (None: the table is undated and lands whole).
    ``columns`` are those that staging reads, with their required types (None: any).
    ``line`` names an added column with the row's place in the source, for logs where the order of simultaneous events
    matters.
    ``posted``: its source is the service's log of events, which may be empty; its user ids are pseudonyms already.
    ``delivery``: what a new delivery does to the lake. ``append``: it brings new rows of any day, which are merged by
    ``identity``, the columns that make two rows the same event (none: all columns). ``replace``: it brings whole days,
    each in place of the same day. ``snapshot``: it is the whole table, and a day that it does not have is removed.
    ``rows`` is the SQL condition on the rows to land: all, or those of a sample of users.
    """

    name: str
    source: Source
    day: str | None = None
    columns: Mapping[str, str | None] = field(default_factory=dict)
    user: str | None = None
    events: bool = False
    line: str | None = None
    posted: bool = False
    delivery: str = "replace"
    identity: tuple[str, ...] = ()
    rows: str = ALL_ROWS

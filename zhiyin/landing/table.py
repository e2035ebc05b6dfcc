"""A raw table: where a source delivers it, and what it must be."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from zhiyin.landing.source import Source

ALL_ROWS = "true"


@dataclass(frozen=True)
class RawTable:
    """A table as a source delivers it.

    ``day`` is the SQL expression of the date that a row belongs to (None: the table is undated and lands whole).
    ``columns`` are those that staging reads, with the types that it counts on (None: any).
    ``line`` names a column that is added, the row's place in the source: where the order of events of one moment tells.
    ``posted``: its source is what the service was sent, which may be nothing; its users are pseudonyms already.
    ``rows`` is the SQL condition on the rows that are taken: all, or those of a sample of users.
    """

    name: str
    source: Source
    day: str | None = None
    columns: Mapping[str, str | None] = field(default_factory=dict)
    user: str | None = None
    events: bool = False
    line: str | None = None
    posted: bool = False
    rows: str = ALL_ROWS

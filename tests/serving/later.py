"""Item state of a later moment: the states of one day, written as those of another."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from zhiyin.clock import Clock
from zhiyin.contract import FEATURE_AT
from zhiyin.recommender.state.item_state import publish_items
from zhiyin.settings import Settings


def publish_later(
    settings: Settings, rows: pa.Table, at: datetime, edit: Callable[[pa.Table], pa.Table] = lambda rows: rows
) -> Path:
    """Publish ``rows`` (states of all items at one moment) as the state of items at ``at``; the version."""
    clock = Clock(at)
    moved = pa.array([at] * rows.num_rows, pa.timestamp("us", tz="UTC"))
    table = rows.set_column(rows.column_names.index(FEATURE_AT), FEATURE_AT, moved)
    (settings.states / clock.date).mkdir(parents=True, exist_ok=True)
    pq.write_table(edit(table), settings.states / clock.date / "items.parquet")
    return publish_items(settings, clock)


def items_at(states: Path, at: datetime) -> pa.Table:
    """The rows of items.parquet of a run at its ``as_of``."""
    rows = pq.read_table(states / "items.parquet")
    return rows.filter(pc.equal(rows[FEATURE_AT], pa.scalar(at, pa.timestamp("us", tz="UTC"))))


DAY = timedelta(days=1)

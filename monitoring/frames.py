"""The two windows of every compared table, as flat tables of scalars, sampled where they are large.

Samples are drawn by the hash of a row's key and the seed: the same rows every time, and for states the same users and
items in both windows.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from zhiyin.clock import Clock
from zhiyin.contract import FEATURE_AT, INTERACTIONS, ITEM_ID, ITEMS, QUARANTINED_EVENTS, USER_ID, taken_types
from zhiyin.settings import Settings
from zhiyin.store.sql import read_table, schema_of
from zhiyin.warehouse import Marts, connect

WINDOW = timedelta(days=28)
WEEKS = 8  # of the trend of what was set aside
ROWS = 20_000  # of one window
LABELS = 20  # the most frequent: those whose share of the events is compared

# Two samples of one distribution differ by a Jensen-Shannon distance of about sqrt(classes / (4 * rows)): with more
# classes that noise is close to the drift threshold, so such a column is not compared.
MAX_CLASSES = 100


@dataclass(frozen=True)
class Comparison:
    """One dataset in the current window and, where there is one, in the reference window before it."""

    name: str
    current: pd.DataFrame
    reference: pd.DataFrame
    numerical: list[str]
    categorical: list[str]
    left_out: dict[str, str] = field(default_factory=dict)  # column -> why it is not compared

    @property
    def has_reference(self) -> bool:
        return len(self.reference) > 0


def interactions(settings: Settings, clock: Clock, marts: Marts) -> Comparison:
    """Events of the 28 days before ``as_of`` and of the 28 before those: amounts, moments, and categories."""
    query = """
        select
            events.event_type, events.source, events.value, events.amount,
            events.amount / nullif(events.value, 0) as unit_price,
            count(*) over (partition by coalesce(events.basket_id, events.event_id)) as basket_size,
            hour(events.occurred_at) as hour, dayname(events.occurred_at) as weekday,
            items.department, items.category, items.labels, items.brand
        from read_parquet($events) as events
        left join read_parquet($items) as items on events.item_id = items.item_id
        where events.occurred_at >= $start and events.occurred_at < $end
        order by md5(events.event_id || $seed)
        limit $rows
    """
    files = {"events": str(marts.path(INTERACTIONS)), "items": str(marts.path(ITEMS))}
    with connect(settings) as connection:
        current, reference = (
            connection.execute(
                query, files | {"start": start, "end": end, "seed": str(settings.seed), "rows": ROWS}
            ).df()
            for start, end in windows(clock)
        )
    numerical = ["value", "amount", "unit_price", "basket_size", "hour"]
    categorical = ["event_type", "source", "weekday", "department", "category", "brand"]
    labels = _spread_labels(current, reference)
    return comparison("interactions", current, reference, numerical, [*categorical, *labels])


def _spread_labels(*frames: pd.DataFrame) -> list[str]:
    """Give the frames a column of yes and no for each of their most frequent labels, in place of their sets."""
    sets = [
        [frozenset(labels if isinstance(labels, list | np.ndarray) else ()) for labels in frame.pop("labels")]
        for frame in frames
    ]  # a column without any label holds pandas' NA
    counts = Counter(label for held in sets for labels in held for label in labels)
    columns = {
        f"label {name}": name for name, _ in sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:LABELS]
    }
    for frame, held in zip(frames, sets, strict=True):
        for column, name in columns.items():
            frame[column] = ["yes" if name in labels else "no" for labels in held]
    return list(columns)


def windows(clock: Clock) -> tuple[tuple[datetime, datetime], tuple[datetime, datetime]]:
    """[start, end) of the current and of the reference window, in UTC without a zone, as the marts hold moments."""
    end = clock.as_of.replace(tzinfo=None)
    return (end - WINDOW, end), (end - 2 * WINDOW, end - WINDOW)


def states(settings: Settings, clock: Clock, path: Path) -> Comparison:
    """The states of ``users.parquet`` or ``items.parquet`` at ``as_of`` against those at ``clock.reference_cut``.

    Columns are included by their type, so a new feature is compared without an edit: moments by their age in
    days, arrays by their length or (numbers) their mean, names and texts not at all.
    """
    schema = schema_of(path)
    key = next(name for name in (USER_ID, ITEM_ID) if name in schema.names)
    columns: dict[str, str] = {}
    for column in schema:
        if column.name not in (key, FEATURE_AT):
            name, expression = _scalar(column)
            columns[name] = expression
    selected = ", ".join(f'{expression} as "{name}"' for name, expression in columns.items())
    query = f"""
        select {selected}
        from read_parquet($path)
        where {FEATURE_AT} = $moment
        order by md5({key} || $seed)
        limit $rows
    """
    with connect(settings) as connection:
        current, reference = (
            connection.execute(
                query, {"path": str(path), "moment": moment, "seed": str(settings.seed), "rows": ROWS}
            ).df()
            for moment in (clock.as_of, clock.reference_cut)
        )
    numerical = [name for name in columns if pd.api.types.is_numeric_dtype(current[name])]
    categorical = [name for name in columns if name not in numerical]
    return comparison(path.stem, current, reference, numerical, categorical)


def _scalar(column: pa.Field) -> tuple[str, str]:
    """The name and the SQL of the scalar that represents a column."""
    name, kind = column.name, column.type
    if pa.types.is_timestamp(kind):
        return f"{name}_age_days", f"date_diff('second', \"{name}\", {FEATURE_AT}) / 86400.0"
    if pa.types.is_boolean(kind):
        return name, f'"{name}"::varchar'
    if not pa.types.is_list(kind):
        return name, f'"{name}"'
    if name.endswith("_at"):  # a list of moments in epoch seconds
        return f"{name}_mean_age_days", f'(epoch({FEATURE_AT}) - list_avg("{name}")) / 86400.0'
    if pa.types.is_integer(kind.value_type) or pa.types.is_floating(kind.value_type):
        return f"{name}_mean", f'list_avg("{name}")'
    return f"{name}_length", f'len("{name}")'


def comparison(
    name: str, current: pd.DataFrame, reference: pd.DataFrame, numerical: list[str], categorical: list[str]
) -> Comparison:
    """Leave out, with the reason, what has no distribution to compare."""
    left_out: dict[str, str] = {}
    for column in [*numerical, *categorical]:
        frames = [current, reference] if len(reference) else [current]
        if any(frame[column].isna().all() for frame in frames):
            left_out[column] = "empty"
        elif column in categorical and max(frame[column].nunique() for frame in frames) > MAX_CLASSES:
            left_out[column] = f"more than {MAX_CLASSES} values"
    kept = [[column for column in group if column not in left_out] for group in (numerical, categorical)]
    names = kept[0] + kept[1]
    return Comparison(name, current[names], reference[names], kept[0], kept[1], left_out)


def quarantined(settings: Settings, clock: Clock, marts: Marts) -> dict[str, list[int]]:
    """Events set aside in each of the ``WEEKS`` before ``as_of``, oldest first, by reason; the most frequent first."""
    query = """
        select rejected_because as reason, (datediff('day', occurred_at, $end) - 1) // 7 as week, count(*) as events
        from read_parquet($events)
        where occurred_at >= $start and occurred_at < $end
        group by all
    """
    end = clock.as_of.replace(tzinfo=None)
    start = end - WEEKS * timedelta(days=7)
    parameters: dict[str, Any] = {"events": str(marts.path(QUARANTINED_EVENTS)), "start": start, "end": end}
    found: dict[str, list[int]] = {}
    with connect(settings) as connection:
        for reason, week, events in connection.execute(query, parameters).fetchall():
            found.setdefault(reason, [0] * WEEKS)[WEEKS - 1 - week] += events
    return dict(sorted(found.items(), key=lambda entry: (-sum(entry[1]), entry[0])))


def volumes(settings: Settings, clock: Clock, marts: Marts) -> dict[str, dict[str, float]]:
    """Counts over the whole windows, not samples: by figure, ``current`` and ``reference``.

    Baskets are of what users took, money is of purchases, as in ``dbt_project/models/metrics/metrics.yml``.
    """
    query = """
        select count(*) as events, count(distinct user_id) as users, count(distinct item_id) as items,
            count(distinct coalesce(basket_id, event_id)) filter (where event_type in $taken) as baskets,
            round(coalesce(sum(amount) filter (where event_type = 'purchase'), 0), 2) as amount
        from read_parquet($events)
        where occurred_at >= $start and occurred_at < $end
    """
    figures: dict[str, dict[str, float]] = {}
    types = pc.unique(read_table(marts.path(INTERACTIONS), columns=["event_type"])["event_type"])
    taken = list(taken_types(types.cast(pa.string()).to_pylist()))
    with connect(settings) as connection:
        for label, (start, end) in zip(("current", "reference"), windows(clock), strict=True):
            parameters: dict[str, Any] = {"events": str(marts.path(INTERACTIONS)), "start": start, "end": end}
            parameters["taken"] = taken
            (row,) = connection.execute(query, parameters).df().to_dict("records")
            for figure, value in row.items():
                figures.setdefault(str(figure), {})[label] = float(value)
    return figures

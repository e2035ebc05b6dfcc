"""Views of vectors, which no mart holds: what training writes, kept point in time beside the marts' features.

``item_embedding``: the sentence vector of an item's document, from the cache of encodings. ``user_interest``: where a
model places a user among the items, at the moment for which it was computed.
"""

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from feast import Entity, FeatureService, FeatureView, Field, FileSource
from feast.data_format import ParquetFormat
from feast.types import Array, Float32

from feature_repo.definitions import ITEM, USER
from feature_repo.online_store import write_rows
from feature_repo.point_in_time import connect, quoted
from feature_repo.store import open_store
from zhiyin.clock import Clock
from zhiyin.contract import FEATURE_AT, ITEM_HISTORY, ITEM_ID, USER_ID
from zhiyin.settings import Settings
from zhiyin.store import atomic_file
from zhiyin.warehouse import current

ITEM_EMBEDDING = "item_embedding"
USER_INTEREST = "user_interest"
SERVICES = (ITEM_EMBEDDING, USER_INTEREST)

ROWS = 10_000  # vectors written online at once


def views(settings: Settings) -> list[FeatureView]:
    """Both views. A request needs no item vector from the online store: the bundle holds them all."""
    return [
        _view(settings, ITEM_EMBEDDING, ITEM, False, "Sentence vector of the item's document."),
        _view(settings, USER_INTEREST, USER, True, "Where the interest encoder places the user among the items."),
    ]


def _view(settings: Settings, name: str, entity: Entity, online: bool, description: str) -> FeatureView:
    source = FileSource(
        name=name, path=str(source_path(settings, name)), file_format=ParquetFormat(), timestamp_field=FEATURE_AT
    )
    return FeatureView(
        name=name,
        description=description,
        entities=[entity],
        ttl=timedelta(0),
        online=online,
        schema=[Field(name=name, dtype=Array(Float32), description=description)],
        source=source,
    )


def services(views: Iterable[FeatureView]) -> list[FeatureService]:
    """A service of its own for each view: vectors are large, and no part of a state."""
    return [
        FeatureService(name=view.name, features=[view], description=view.description)
        for view in views
        if view.name in SERVICES
    ]


def source_path(settings: Settings, name: str) -> Path:
    """Where the rows of a view lie; the interest has a file per moment."""
    return settings.features / name / ("*.parquet" if name == USER_INTEREST else "all.parquet")


def write_item_embedding(settings: Settings, encoder: str) -> Path:
    """Write the source of ``item_embedding``: the cached vector of every document that a published item has or had.

    ``encoder`` is the digest that names the cache. A vector holds from its document's ``valid_from``; documents that
    are not encoded are left out.

    Raises:
        FileNotFoundError: no such cache.
    """
    cache = settings.encodings / f"{encoder[:16]}.parquet"
    if not cache.is_file():
        raise FileNotFoundError(f"{cache}: no encodings of that encoder; encode the items first")
    path = source_path(settings, ITEM_EMBEDDING)
    items = quoted(str(current(settings).path(ITEM_HISTORY)))
    with atomic_file(path) as temporary, connect(settings) as connection:
        connection.execute(
            f"copy (select items.{ITEM_ID}, items.valid_from::timestamptz as {FEATURE_AT},"
            f" cache.vector::float[] as {ITEM_EMBEDDING}"
            f" from read_parquet({items}) as items join read_parquet({quoted(str(cache))}) as cache"
            f" on cache.digest = sha256(coalesce(items.document, '')) order by 1, 2)"
            f" to {quoted(str(temporary))} (format parquet)"
        )
    return path


def write_user_interest(settings: Settings, clock: Clock, table: pa.Table) -> Path:
    """Keep the interest vectors of ``clock.as_of`` for point-in-time reads, and write them online.

    Args:
        table: ``user_id`` (pseudonym) and ``user_interest`` (list of float), a row per user.

    Returns:
        The file of that moment; what was written for it before is replaced.

    Raises:
        ValueError: a column is missing or another one there, an id is null or twice in it, or vectors differ in length.
    """
    rows = _interest_rows(table, clock)
    path = source_path(settings, USER_INTEREST).with_name(f"{clock.date}.parquet")
    with atomic_file(path) as temporary:
        pq.write_table(rows, temporary)
    store = open_store(settings)
    view = store.get_feature_view(USER_INTEREST)
    for batch in rows.to_batches(max_chunksize=ROWS):
        write_rows(store, view, batch, FEATURE_AT)
    store.registry.apply_materialization(view, store.project, clock.as_of, clock.as_of)
    return path


def _interest_rows(table: pa.Table, clock: Clock) -> pa.Table:
    if sorted(table.column_names) != sorted((USER_ID, USER_INTEREST)):
        raise ValueError(f"user_interest: columns are {table.column_names}; expected {USER_ID} and {USER_INTEREST}")
    ids, vectors = table[USER_ID].cast(pa.string()), table[USER_INTEREST].cast(pa.list_(pa.float32()))
    if ids.null_count or pc.count_distinct(ids).as_py() != len(ids):
        raise ValueError(f"user_interest: {len(ids)} rows for {pc.count_distinct(ids).as_py()} users; one row a user")
    lengths = pc.unique(pc.list_value_length(vectors)).to_pylist()
    if len(lengths) > 1 or None in lengths:
        raise ValueError(f"user_interest: vectors have lengths {lengths}; all of a moment have one")
    at = pa.repeat(pa.scalar(clock.as_of, pa.timestamp("us", tz="UTC")), len(ids))
    return pa.table({USER_ID: ids, FEATURE_AT: at, USER_INTEREST: vectors})


def forget_interest(settings: Settings, user_ids: Iterable[str]) -> None:
    """Rewrite the files of ``user_interest`` without some users."""
    forgotten: Any = pa.array(user_ids, pa.string())
    pattern = source_path(settings, USER_INTEREST)
    for path in sorted(pattern.parent.glob(pattern.name)):
        rows = pq.read_table(path)
        kept = rows.filter(pc.invert(pc.is_in(rows[USER_ID], value_set=forgotten)))
        if kept.num_rows < rows.num_rows:
            with atomic_file(path) as temporary:
                pq.write_table(kept, temporary)

"""Item state published apart from the models: what each run knows of all items at its ``as_of``.

``<data>/item_state/<as_of>-<digest>/`` holds ``items.arrow``, the rows of items.parquet at ``as_of`` of the whole items
mart, and a manifest; it never changes. The text file ``CURRENT`` names the version to serve. A run publishes it
whether or not its challenger is promoted: popularity, prices, promotions and availability do not wait for a promotion.
"""

import shutil
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from zhiyin.clock import Clock
from zhiyin.contract import FEATURE_AT, ITEM_ID
from zhiyin.recommender.recommender import Recommender
from zhiyin.recommender.state.catalogue import ItemState
from zhiyin.settings import Settings
from zhiyin.store import MANIFEST, atomic_file, publish_by_digest, verify_manifest, write_manifest
from zhiyin.store.sql import read_table

CURRENT = "CURRENT"
ITEMS = "items.arrow"
KEPT = 8  # versions, the latest by as_of and the current one; readers hold a version in memory


@dataclass(frozen=True)
class PublishedItems:
    """One version in memory; ``rows`` are sorted by item."""

    version: str
    at: datetime
    rows: pa.Table


def publish_items(settings: Settings, clock: Clock) -> Path:
    """Publish the state of all items at ``clock.as_of`` and point ``CURRENT`` at it.

    Publishing the same state again gives the same version.

    Raises:
        FileNotFoundError: the states of this ``as_of`` were not read.
        ValueError: they have no row at ``as_of``.
    """
    source = settings.states / clock.date / "items.parquet"
    if not source.is_file():
        raise FileNotFoundError(f"{source}: no states as of {clock.date}; run the step features first")
    rows = read_table(source, equal={FEATURE_AT: clock.as_of}).sort_by(ITEM_ID)
    if not rows.num_rows:
        raise ValueError(f"{source} has no row at {clock.date}; run the step features again")

    def write(folder: Path) -> str:
        table = rows.replace_schema_metadata(None).combine_chunks()
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.OSFile(str(folder / ITEMS), "wb") as sink, pa.ipc.new_file(sink, table.schema, options=options) as out:
            out.write_table(table)
        manifest = write_manifest(folder, as_of=clock.as_of.isoformat(), rows=rows.num_rows)
        return f"{clock.date}-{manifest['digest'][:12]}"

    version = publish_by_digest(settings.item_state, write)
    with atomic_file(settings.item_state / CURRENT) as pointer:
        pointer.write_text(version.name + "\n")
    versions = sorted(path for path in settings.item_state.iterdir() if path.is_dir() and path.name[0] != ".")
    for old in versions[:-KEPT]:
        if old != version:
            shutil.rmtree(old)
    return version


def current_version(settings: Settings) -> str | None:
    """The version that ``CURRENT`` names; None where nothing was published yet."""
    pointer = settings.item_state / CURRENT
    return pointer.read_text().strip() if pointer.is_file() else None


def read_items(settings: Settings, version: str) -> PublishedItems:
    """Verify a version against its manifest and read it.

    Raises:
        ValueError: a file is missing or was changed.
        OSError: there is no such version, or it cannot be read.
    """
    folder = settings.item_state / version
    if not (folder / MANIFEST).is_file():
        raise FileNotFoundError(f"{folder} is no published item state: run the step publish_items")
    manifest = verify_manifest(folder)
    with pa.OSFile(str(folder / ITEMS)) as source:
        rows = pa.ipc.open_file(source).read_all()
    return PublishedItems(version, datetime.fromisoformat(manifest["as_of"]), rows)


def with_published_items(recommender: Recommender, published: PublishedItems | None) -> Recommender:
    """The recommender with the published item state in place of the one in its bundle.

    A published state that is older than the bundle's is not used. A column that only the bundle's state has is unknown
    for all items.
    """
    own = recommender.item_state
    if published is None or published.at < own.moment:
        return recommender
    state = ItemState.of(published.rows, recommender.catalogue, published.at, recommender.recipe.least)
    unknown = np.full(len(recommender.catalogue), np.nan, np.float32)
    return recommender.at(replace(state, columns=dict.fromkeys(own.columns, unknown) | state.columns))

"""The published marts: immutable folders of Parquet files, named by date and digest, and a pointer to one of them."""

import tempfile
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from zhiyin.clock import Clock
from zhiyin.settings import Settings
from zhiyin.store import (
    MANIFEST,
    atomic_file,
    atomic_folder,
    encryption,
    file_digest,
    json_digest,
    read_json,
    temporary,
    verify_manifest,
    write_manifest,
)
from zhiyin.store.sql import open_database, parquet_options, rows_digest

CURRENT = "CURRENT"


@dataclass(frozen=True)
class Marts:
    """One published version of the marts."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def version(self) -> str:
        return self.folder.name

    @property
    def as_of(self) -> datetime:
        """Events before this moment (UTC) are in the marts."""
        return datetime.fromisoformat(self.manifest["as_of"])

    def path(self, name: str) -> Path:
        """The Parquet file of one mart, compared with the manifest when a process first reads it.

        Raises:
            KeyError: no such mart; the message lists those that are there.
            ValueError: the file is gone or not as it was published; the message names the cure.
        """
        if name not in self.manifest["rows"]:
            raise KeyError(f"no mart {name!r} in {self.folder}; there are {', '.join(self.manifest['rows'])}")
        path = self.folder / f"{name}.parquet"
        published = self.manifest.get("files", {}).get(path.name)
        if published and not path.is_file():
            raise ValueError(f"{path} is gone; run the step publish, which writes it again")
        if published and _digest_of(path, path.stat().st_mtime_ns) != published["sha256"]:
            raise ValueError(f"{path} is not as it was published; run the step publish, which writes it again")
        return path


@lru_cache(maxsize=256)
def _digest_of(path: Path, modified: int) -> str:  # ``modified``: a file that was written to is read again
    return file_digest(path)


def publish(settings: Settings, clock: Clock) -> Path:
    """Export every mart to a new version under ``settings.marts`` and point ``CURRENT`` at it.

    The version is named by date and content, so publishing the same marts twice gives the same folder.

    Returns:
        The folder of the version: ``<mart>.parquet`` and a manifest with rows and digests.

    Raises:
        FileNotFoundError: there is no warehouse yet.
        ValueError: the warehouse was last built for another ``as_of``, or its last build failed.
    """
    if not settings.warehouse.is_file():
        raise FileNotFoundError(f"{settings.warehouse}: no warehouse; land and run dbt build first")
    settings.marts.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=temporary("publish"), dir=settings.marts) as name:
        return publish_folder(settings, Path(name), clock.as_of, _export(settings, clock, Path(name)))


def publish_folder(settings: Settings, exported: Path, as_of: datetime, rows: dict[str, int]) -> Path:
    """Make the marts in a folder beside the versions a version, and point ``CURRENT`` at it."""
    manifest = write_manifest(exported, dataset=settings.dataset, as_of=as_of.isoformat(), rows=rows)
    version = settings.marts / f"{as_of:%Y-%m-%d}-{_digest_of_content(exported, manifest)[:12]}"
    with atomic_folder(version, replace=not _is_whole(version)) as made:  # a damaged version is written again
        for file in exported.iterdir():
            file.rename(made / file.name)
    with atomic_file(settings.marts / CURRENT) as pointer:
        pointer.write_text(version.name + "\n")
    return version


def _digest_of_content(exported: Path, manifest: dict[str, Any]) -> str:
    """The manifest's digest; where files are encrypted, and never the same bytes twice, one of their rows."""
    if not encryption.is_on():
        return str(manifest["digest"])
    facts = {name: fact for name, fact in manifest.items() if name not in ("files", "digest")}
    return json_digest([facts, {path.name: rows_digest(path) for path in sorted(exported.glob("*.parquet"))}])


def _is_whole(version: Path) -> bool:
    try:
        return bool(verify_manifest(version))
    except (FileNotFoundError, ValueError):
        return False


def published_marts(manifest: Path) -> dict[str, tuple[str, ...]]:
    """The models of a dbt manifest that are published, by name, and the columns by which their rows are ordered.

    A mart is published when its YAML says so under ``config.meta``: ``publish: {order_by: [user_id, occurred_at]}``, or
    ``feast: {entities: [user_id], timestamp: feature_at}``, which gives the order where ``publish`` does not.

    Raises:
        FileNotFoundError: there is no manifest.
        ValueError: ``order_by`` is missing, or names a column that the mart's YAML does not have.
    """
    if not manifest.is_file():
        raise FileNotFoundError(f"{manifest}: no dbt manifest; run `zhiyin step build` first")
    orders = {}
    for node in read_json(manifest)["nodes"].values():
        meta = node["config"].get("meta") or {}
        if node["resource_type"] != "model" or not {"publish", "feast"} & meta.keys():
            continue
        feast = meta.get("feast") or {}
        order = (meta.get("publish") or {}).get("order_by") or [*feast.get("entities", []), feast.get("timestamp")]
        unknown = [str(column) for column in order if column not in node["columns"]]
        if unknown or not order:
            raise ValueError(
                f"{node['name']}: its YAML has no column {', '.join(unknown) or 'to order its rows by'};"
                " say config: {meta: {publish: {order_by: [COLUMN, ...]}}}"
            )
        orders[node["name"]] = tuple(order)
    return dict(sorted(orders.items()))


def _export(settings: Settings, clock: Clock, folder: Path) -> dict[str, int]:
    """Write ``<mart>.parquet`` for every mart, ordered by its keys; return the rows of each."""
    with open_database(settings.warehouse, read_only=True) as connection:
        connection.execute(f"set threads = {settings.threads}")
        connection.execute(f"set memory_limit = '{settings.memory_limit}'")
        built = connection.execute("select max(as_of) from increment.built").fetchall()[0][0]
        if built is None:
            raise ValueError(f"{settings.warehouse}: the last dbt build failed; run it again")
        if built != clock.as_of.replace(tzinfo=None):
            raise ValueError(f"{settings.warehouse} holds marts as of {built}, not {clock.date}; run dbt build for it")
        rows = {}
        for mart, keys in published_marts(settings.dbt_target / "manifest.json").items():
            connection.execute(
                f"copy (select * from {mart} order by {', '.join(keys)}) to '{folder / mart}.parquet'"
                f" {parquet_options(connection, mart)}"
            )
            rows[mart] = int(connection.execute(f"select count(*) from {mart}").fetchall()[0][0])
        return rows


def current(settings: Settings) -> Marts:
    """The published marts that ``CURRENT`` points at.

    Raises:
        FileNotFoundError: nothing was published yet.
    """
    encryption.check(settings)
    pointer = settings.marts / CURRENT
    if not pointer.is_file():
        raise FileNotFoundError(f"{pointer}: no marts are published; land, build and publish first")
    folder = settings.marts / pointer.read_text().strip()
    return Marts(folder, read_json(folder / MANIFEST))

"""The Feast store of one dataset: where its registry and stores lie, and what is registered."""

import logging
import sqlite3
import warnings
from pathlib import Path
from typing import Any

import ibis
import pyarrow.parquet as pq
from feast import FeatureStore, FeatureView, FileSource, RepoConfig
from feast.repo_config import RegistryConfig

from feature_repo.definitions import ENTITIES, FeatureMart, feature_services, feature_view, read_manifest
from zhiyin.clock import Clock
from zhiyin.settings import Settings
from zhiyin.warehouse import Marts, current


def online_path(settings: Settings) -> Path:
    return settings.features / "online.db"


def watermark_path(settings: Settings) -> Path:
    return settings.features / "watermarks.json"


def open_store(settings: Settings) -> FeatureStore:
    """Feast's store. The registry is read once: a process that must see a later ``apply`` opens the store again."""
    logging.getLogger("feast.infra.registry").setLevel(logging.WARNING)  # it reports every look at the registry
    return FeatureStore(
        config=RepoConfig(
            project="zhiyin",
            provider="local",
            registry=RegistryConfig(path=str(settings.features / "registry.db"), cache_ttl_seconds=0),
            offline_store={"type": "duckdb"},
            online_store={"type": "sqlite", "path": str(online_path(settings))},
            entity_key_serialization_version=3,
            # Only the latest row of each key goes online; without it Feast pulls the whole history into memory.
            materialization={"pull_latest_features": True},
        )
    )


def apply(settings: Settings, dbt_manifest: Path | None = None) -> list[str]:
    """Register the entities, views and services that the dbt manifest declares over the published marts.

    Sources point at the published version itself, which never changes, so a later publication cannot mix versions
    within a run. Views that left the manifest are removed.

    Returns:
        The names of the views.

    Raises:
        FileNotFoundError: no dbt manifest, or no published marts.
        ValueError: a mart's declaration is unusable, or its published file lacks a declared column.
    """
    marts = read_manifest(dbt_manifest or settings.dbt_target / "manifest.json")
    published = current(settings)
    for mart in marts:
        _check_columns(mart, published.path(mart.name))
    settings.features.mkdir(parents=True, exist_ok=True)
    _prepare_online(settings)

    store = open_store(settings)
    views = [feature_view(mart, published.path(mart.name)) for mart in marts]
    gone: list[Any] = [view for view in store.list_feature_views() if view.name not in {mart.name for mart in marts}]
    store.apply([*ENTITIES.values(), *views, *feature_services(views)], objects_to_delete=gone, partial=False)
    return [view.name for view in views]


def _check_columns(mart: FeatureMart, path: Path) -> None:
    missing = set(mart.columns) - set(pq.read_schema(path).names)
    if missing:
        raise ValueError(
            f"{path} lacks {', '.join(sorted(missing))}, which the dbt manifest declares for {mart.name}; "
            "build and publish the marts again"
        )


def _prepare_online(settings: Settings) -> None:
    """Make the online database, in a mode in which readers never wait for the writer."""
    path = online_path(settings)
    if not path.exists():
        watermark_path(settings).unlink(missing_ok=True)  # a lost database holds nothing, whatever the marks say
    connection = sqlite3.connect(path)
    try:
        connection.execute("pragma journal_mode = wal")
    finally:
        connection.close()


def open_run(settings: Settings, clock: Clock) -> tuple[FeatureStore, Marts]:
    """The store and the published marts behind its views, for the offline reads of one run.

    Raises:
        ValueError: the marts stand at another moment than ``clock.as_of``, so snapshots would be stale, or the views
            were applied over another version of the marts.
    """
    marts = current(settings)
    if marts.as_of != clock.as_of:
        raise ValueError(
            f"{marts.folder} stands at {marts.as_of:%Y-%m-%d}, the run at {clock.date}; build and publish it first"
        )
    store = open_store(settings)
    for view in store.list_feature_views():
        if file_source(view).path != str(marts.path(view.name)):
            raise ValueError(f"{view.name} reads {file_source(view).path}, published is {marts.version}; apply first")
    _bound_duckdb(settings)
    return store, marts


def file_source(view: FeatureView) -> FileSource:
    source = view.batch_source
    if not isinstance(source, FileSource):
        raise TypeError(f"{view.name}: expected a file as source, got {type(source).__name__}")
    return source


def _bound_duckdb(settings: Settings) -> None:
    """Give Feast's offline reads, which run in this process's ibis default backend, our threads and memory limit."""
    warnings.filterwarnings("ignore", "fetch_arrow_table", DeprecationWarning)  # ibis 12 with DuckDB 2
    spill = settings.features / "spill"
    spill.mkdir(parents=True, exist_ok=True)
    ibis.set_backend(
        ibis.duckdb.connect(threads=settings.threads, memory_limit=settings.memory_limit, temp_directory=str(spill))
    )

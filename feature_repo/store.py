"""The Feast store of one dataset: its registry, and how it is opened."""

import logging
from pathlib import Path

from feast import FeatureService, FeatureStore, FeatureView, RepoConfig
from feast.repo_config import RegistryConfig

from feature_repo.definitions import SERVICES, versioned
from feature_repo.keys import KEY_VERSION
from feature_repo.online_store import online_store, project_name
from feature_repo.point_in_time import file_source
from zhiyin.clock import Clock
from zhiyin.settings import Settings
from zhiyin.store import encryption
from zhiyin.warehouse import Marts, current


def watermark_path(settings: Settings) -> Path:
    return settings.features / "watermarks.json"


def open_store(settings: Settings) -> FeatureStore:
    """Feast's store. The registry is read once: a process that must see a later ``apply`` opens the store again.

    Raises:
        LockedError: its values are encrypted with another key than the one that is set.
    """
    encryption.check(settings)
    logging.getLogger("feast.infra.registry").setLevel(logging.WARNING)  # it logs every read of the registry
    return FeatureStore(
        config=RepoConfig(
            project=project_name(settings),
            provider="local",
            registry=RegistryConfig(path=str(settings.features / "registry.db"), cache_ttl_seconds=0),
            offline_store={"type": "duckdb"},
            online_store=online_store(settings).config(),
            entity_key_serialization_version=KEY_VERSION,
        )
    )


def open_run(settings: Settings, clock: Clock) -> tuple[FeatureStore, Marts]:
    """The store and the published marts behind its views, for the offline reads of one run.

    Raises:
        ValueError: the marts have another ``as_of`` than the clock, so snapshots would be stale, or the views
            were applied over another version of the marts.
    """
    marts = current(settings)
    if marts.as_of != clock.as_of:
        raise ValueError(
            f"{marts.folder} is as of {marts.as_of:%Y-%m-%d}, the run as of {clock.date}; build and publish it first"
        )
    store = open_store(settings)
    for view in (view for name in SERVICES for view in mart_views(store, store.get_feature_service(name))):
        if file_source(view).path != str(marts.path(view.name)):
            raise ValueError(f"{view.name} reads {file_source(view).path}, published is {marts.version}; apply first")
    return store, marts


def service_version(store: FeatureStore, name: str) -> str:
    """The name under which the current features of a service stay readable when the marts change."""
    service = store.get_feature_service(name)
    return versioned(name, mart_views(store, service))


def mart_views(store: FeatureStore, service: FeatureService) -> list[FeatureView]:
    """The views behind a service, in its order."""
    return [store.get_feature_view(projection.name) for projection in service.feature_view_projections]

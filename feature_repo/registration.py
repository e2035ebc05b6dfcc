"""Registration in Feast: entities, views and services of the dbt manifest, and the views that dbt does not make."""

from pathlib import Path
from typing import Any

from feast import FeatureService, FeatureStore, FeatureView

from feature_repo import session
from feature_repo.definitions import (
    ENTITIES,
    SERVICES,
    FeatureMart,
    feature_services,
    feature_view,
    kept_service,
    read_manifest,
)
from feature_repo.online_store import online_store
from feature_repo.store import open_store
from zhiyin.settings import Settings
from zhiyin.store.sql import schema_of
from zhiyin.warehouse import current


def apply(settings: Settings, dbt_manifest: Path | None = None) -> list[str]:
    """Register the entities, views and services that the dbt manifest declares over the published marts.

    Sources point at the published version itself, which never changes, so a later publication cannot mix versions
    within a run. What is registered and no longer made, such as a view that left the manifest, is removed; earlier
    versions of the services stay, as far as their features are still there. The view of the session, which dbt does not
    make, is registered beside them.

    Returns:
        The names of the marts' views.

    Raises:
        FileNotFoundError: no dbt manifest, or no published marts.
        ValueError: a mart's declaration is unusable, or its published file lacks a declared column.
    """
    marts = read_manifest(dbt_manifest or settings.dbt_target / "manifest.json")
    published = current(settings)
    for mart in marts:
        _check_columns(mart, published.path(mart.name))
    settings.features.mkdir(parents=True, exist_ok=True)
    online_store(settings).prepare()

    store = open_store(settings)
    views = [feature_view(mart, published.path(mart.name)) for mart in marts]
    live = session.view(settings)
    services = [*feature_services(views), session.service(live)]
    services += _earlier_services(store, views, {service.name for service in services})
    objects: list[Any] = [*ENTITIES.values(), *views, live, *services]
    for on_demand in store.registry.list_on_demand_feature_views(store.project, skip_udf=True):
        # We make none. One of an earlier version names a function that is gone, and Feast would fail to load it.
        store.registry.delete_feature_view(on_demand.name, store.project)
    registered: list[Any] = [*store.list_feature_services(), *store.list_feature_views()]
    names = {it.name for it in objects}
    gone: list[Any] = [it for it in registered if it.name not in names]
    store.apply(objects, objects_to_delete=gone, partial=False)
    return [view.name for view in views]


def _earlier_services(store: FeatureStore, views: list[FeatureView], current: set[str]) -> list[FeatureService]:
    earlier = [
        kept_service(service, views)
        for service in store.list_feature_services()
        if service.name not in current and service.name.startswith(tuple(f"{name}_" for name in SERVICES))
    ]
    return [service for service in earlier if service is not None]


def _check_columns(mart: FeatureMart, path: Path) -> None:
    missing = set(mart.columns) - set(schema_of(path).names)
    if missing:
        raise ValueError(
            f"{path} lacks {', '.join(sorted(missing))}, which the dbt manifest declares for {mart.name}; "
            "build and publish the marts again"
        )

"""A person leaves the feature store: the online rows here; the offline files go with the marts, see zhiyin/erasure."""

from feature_repo.online_store import online_store
from feature_repo.registration import apply
from feature_repo.store import registry_path
from zhiyin.settings import Settings
from zhiyin.warehouse import CURRENT


def count_online(settings: Settings, user_id: str) -> int:
    """How many rows the online store holds of a user (a pseudonym), of whatever view."""
    return online_store(settings).count(user_id)


def erase_online(settings: Settings, user_id: str) -> None:
    """Drop a user's online rows of every view, and let the views read the marts that are published now."""
    online_store(settings).erase(user_id)
    if registry_path(settings).is_file() and (settings.marts / CURRENT).is_file():
        apply(settings)

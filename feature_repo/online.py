"""One user's state from the online store, for serving."""

import threading
from datetime import datetime
from typing import Any

from feast import FeatureService, FeatureStore
from feast.type_map import feast_value_type_to_python_type

from feature_repo.definitions import USER_STATE
from feature_repo.store import online_path, open_store, watermark_path
from zhiyin.contract import FEATURE_AT, USER_ID
from zhiyin.settings import Settings
from zhiyin.store import read_json


class OnlineStoreError(RuntimeError):
    """The online store cannot be read now; the caller goes on without the user's state and says so."""


class OnlineStates:
    """Reads user states. Construction touches nothing; the store is opened by the first read.

    It follows the store by itself: after a materialization, which may have brought new features, it opens it anew.
    One lock guards the connection, so threads of one worker may share an instance.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._store: FeatureStore
        self._service: FeatureService
        self._columns: list[str]
        self._feature_at: datetime

    def user(self, user_id: str) -> dict[str, Any] | None:
        """The state of one user (a pseudonym): the columns and types of ``users.parquet``, None for what is unknown.

        ``feature_at`` is the moment up to which the store was materialized. None: the store knows nothing of the user.

        Raises:
            OnlineStoreError: the store was never materialized, is gone, or fails.
        """
        try:
            with self._lock:
                self._follow()
                answer = self._store.get_online_features(self._service, [{USER_ID: user_id}]).proto
                columns, feature_at = self._columns, self._feature_at
        except Exception as error:  # whatever the store behind Feast raises: the caller can only do without
            self._stamp = None
            raise OnlineStoreError(f"online store of {self._settings.dataset}: {error}") from error
        values = {
            name: feast_value_type_to_python_type(vector.values[0])
            for name, vector in zip(answer.metadata.feature_names.val, answer.results, strict=True)
        }
        if all(values[name] is None for name in columns):
            return None
        return {USER_ID: user_id, FEATURE_AT: feature_at, **{name: values[name] for name in columns}}

    def _follow(self) -> None:
        """Open the store when it is not open, or was materialized since."""
        path = watermark_path(self._settings)
        status = path.stat()
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp == self._stamp:
            return
        if not online_path(self._settings).exists():  # SQLite would make an empty one
            raise FileNotFoundError(f"{online_path(self._settings)} is gone; materialize the features again")
        self._store = open_store(self._settings)
        self._service = self._store.get_feature_service(USER_STATE)
        self._columns = [
            feature.name for projection in self._service.feature_view_projections for feature in projection.features
        ]
        self._feature_at = min(datetime.fromisoformat(mark["until"]) for mark in read_json(path).values())
        self._stamp = stamp

"""One user's state from the online store, for serving."""

import threading
from datetime import datetime, timedelta
from typing import Any

from feast import FeatureService, FeatureStore
from feast.errors import FeatureServiceNotFoundException
from feast.type_map import feast_value_type_to_python_type

from feature_repo.definitions import TTL_DAYS, USER_STATE
from feature_repo.online_store import online_store
from feature_repo.store import open_store, watermark_path
from zhiyin.contract import FEATURE_AT, USER_ID
from zhiyin.settings import Settings
from zhiyin.store import read_json


class OnlineStoreError(RuntimeError):
    """The online store cannot be read; the caller continues without the user's state and reports it."""


class OnlineStates:
    """Reads user states. Construction touches nothing; the store is opened by the first read.

    It reopens the store after a materialization, which may have added features.
    One lock guards the connection, so threads of one worker may share an instance.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._store: FeatureStore
        self._services: dict[str, FeatureService]
        self._marks: dict[str, dict[str, Any]]

    def user(self, user_id: str, service: str = USER_STATE) -> dict[str, Any] | None:
        """The state of one user (a pseudonym): the columns and types of ``users.parquet``, None for what is unknown.

        ``service`` names the version of the user state that a model was trained with; where the registry lacks
        it, the current version is read. ``feature_at`` is the moment up to which the store was materialized. None: the
        store has no row of the user.

        Raises:
            OnlineStoreError: the store was never materialized, is gone, or fails.
        """
        try:
            with self._lock:
                self._follow()
                wanted = self._service(service)
                answer = self._store.get_online_features(wanted, [{USER_ID: user_id}]).proto
                feature_at = min(datetime.fromisoformat(mark["until"]) for mark in self._marks.values())
                values = {
                    name: feast_value_type_to_python_type(vector.values[0])
                    for name, vector in zip(answer.metadata.feature_names.val, answer.results, strict=True)
                }
                columns = [
                    feature.name for projection in wanted.feature_view_projections for feature in projection.features
                ]
                if all(values[name] is None for name in columns):
                    self._check_store()
                    return None
        except Exception as error:  # any error of the store behind Feast: the caller continues without it
            self._stamp = None
            raise OnlineStoreError(f"online store of {self._settings.dataset}: {error}") from error
        return {USER_ID: user_id, FEATURE_AT: feature_at, **{name: values[name] for name in columns}}

    def stale(self, moment: datetime) -> list[str]:
        """The views that were last materialized longer before ``moment`` than their time to live, as last read."""
        return [
            name
            for name, mark in self._marks.items()
            if moment - datetime.fromisoformat(mark["until"]) > timedelta(days=mark[TTL_DAYS])
        ]

    def _follow(self) -> None:
        """Open the store when it is not open, or was materialized since."""
        path = watermark_path(self._settings)
        status = path.stat()
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp == self._stamp:
            return
        self._marks = read_json(path)
        self._check_store()
        self._store = open_store(self._settings)
        self._services = {}
        self._stamp = stamp

    def _service(self, name: str) -> FeatureService:
        if name not in self._services:
            try:
                self._services[name] = self._store.get_feature_service(name)
            except FeatureServiceNotFoundException:
                self._services[name] = self._store.get_feature_service(USER_STATE)
        return self._services[name]

    def _check_store(self) -> None:
        """Raise LookupError when the store was lost or flushed, since it would report every user as unknown."""
        if {mark["store"] for mark in self._marks.values()} != {online_store(self._settings).token()}:
            raise LookupError("it does not hold what was materialized; materialize the features again")

"""The user's row from the online store, within a time limit: without it the list is not personal, but it is answered
(law 8)."""

import asyncio
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, Any

from zhiyin.settings import Settings
from zhiyin.store import MANIFEST, read_json

if TYPE_CHECKING:
    from feature_repo import OnlineStates

logger = logging.getLogger("bentoml.zhiyin")

UNAVAILABLE = "user_state_unavailable"
STALE = "stale_features"
CURRENT = "user_state"  # the feature service of all features that there are now
TIMEOUT_SECONDS = 1.0  # an embedded read takes a few ms


class UserStates:
    """Reads in its own threads, so that a hanging store blocks neither the event loop nor the ranking."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store: OnlineStates | None = None
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="user-states")

    async def read(
        self, user_id: str, as_of: datetime | None = None, service: str = CURRENT
    ) -> tuple[dict[str, Any], list[str]]:
        """The row of a pseudonym (``{"user_id": …}`` alone for an unknown one), and what was missing.

        Features that at ``as_of``, the moment of the model, are older than their time to live are used, and reported
        as stale. ``service`` names the features that the model was trained with.
        """
        reading = asyncio.get_running_loop().run_in_executor(self._threads, self.read_now, user_id, service)
        try:
            row = await asyncio.wait_for(reading, TIMEOUT_SECONDS)
        except Exception as error:
            logger.warning("online store: %s: %s", type(error).__name__, error)
            return {"user_id": user_id}, [UNAVAILABLE]
        if row is None:
            return {"user_id": user_id}, []
        assert self._store is not None
        return row, [STALE] if as_of and self._store.stale(as_of) else []

    def read_now(self, user_id: str, service: str = CURRENT) -> dict[str, Any] | None:
        """The row in this thread, however long it takes; the first call imports Feast (seconds)."""
        if self._store is None:
            from feature_repo import OnlineStates

            self._store = OnlineStates(self._settings)
        return self._store.user(user_id, service)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def trained_with(settings: Settings, bundle: Mapping[str, Any]) -> str:
    """The version of the user state that a bundle's models read; current where its states are not here any more.

    ``bundle`` is its manifest: the states of its ``as_of`` say which feature services they were read by.
    """
    try:
        states = read_json(settings.states / str(bundle["as_of"])[:10] / MANIFEST)
    except FileNotFoundError:
        return CURRENT
    same = states["marts"] == bundle.get("marts")
    return str(states.get("services", {}).get("users", CURRENT)) if same else CURRENT

"""The user's row from the online store, within a time limit: a store that is down or slow costs the list its personal
part, never the answer (law 8)."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from zhiyin.settings import Settings

if TYPE_CHECKING:
    from feature_repo import OnlineStates

logger = logging.getLogger("bentoml.zhiyin")

UNAVAILABLE = "user_state_unavailable"
TIMEOUT_SECONDS = 1.0  # an embedded read takes a few ms


class UserStates:
    """Reads on threads of its own, so that a store that hangs can block neither the event loop nor the ranking."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store: OnlineStates | None = None
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="user-states")

    async def read(self, user_id: str) -> tuple[dict[str, Any], list[str]]:
        """The row of a pseudonym (``{"user_id": …}`` alone for an unknown one), and what was missing."""
        reading = asyncio.get_running_loop().run_in_executor(self._threads, self.read_now, user_id)
        try:
            row = await asyncio.wait_for(reading, TIMEOUT_SECONDS)
        except Exception as error:
            logger.warning("online store: %s: %s", type(error).__name__, error)
            return {"user_id": user_id}, [UNAVAILABLE]
        return row or {"user_id": user_id}, []

    def read_now(self, user_id: str) -> dict[str, Any] | None:
        """The row in this thread, however long it takes; the first call imports Feast (seconds)."""
        if self._store is None:
            from feature_repo import OnlineStates

            self._store = OnlineStates(self._settings)
        return self._store.user(user_id)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

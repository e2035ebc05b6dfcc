"""Live sessions: events are pushed to the online store on arrival, and a request reads the user's session from it.

Law 8: when the store is down, events are still logged and lists still made; both answers name what is missing.
"""

import asyncio
import logging
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from bento.user_states import TIMEOUT_SECONDS, UNAVAILABLE
from zhiyin.recommender.state.session import with_session
from zhiyin.settings import Settings

if TYPE_CHECKING:
    from feature_repo import Sessions

logger = logging.getLogger("bentoml.zhiyin")

NOT_UPDATED = "session_not_updated"
NOT_READ = "session_unavailable"
MAX_GROUP = 500  # events pushed together
WAITING = 5_000  # events that may wait for the store; further ones are only in the log

Event = dict[str, Any]


class LiveSessions:
    """One thread writes and one reads, so that neither a slow store nor many events delay a list.

    Events that arrive while a push runs share the next one. Used from the event loop alone.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="session-writer")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="session-reader")
        self._written: Sessions | None = None
        self._read: Sessions | None = None
        self._waiting: deque[tuple[list[Event], asyncio.Future[None]]] = deque()
        self._busy = False

    async def push(self, events: list[Event]) -> list[str]:
        """Update the sessions of the events' users; returns the label of the part that was not done in time."""
        if sum(len(waiting) for waiting, _ in self._waiting) >= WAITING:
            return [NOT_UPDATED]
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((events, done))
        self._start()
        try:
            await asyncio.wait_for(done, TIMEOUT_SECONDS)
        except Exception as error:
            logger.warning("sessions: not updated: %s: %s", type(error).__name__, error)
            return [NOT_UPDATED]
        return []

    async def follow(
        self, row: dict[str, Any], missing: list[str], at: float | None
    ) -> tuple[dict[str, Any], list[str]]:
        """The user's row with the live events, and what was missing; ``at``: the moment of the request."""
        if UNAVAILABLE in missing:  # the session is in the same store
            return row, missing
        reading = asyncio.get_running_loop().run_in_executor(self._reader, self._latest, row["user_id"])
        try:
            session = await asyncio.wait_for(reading, TIMEOUT_SECONDS)
        except Exception as error:
            logger.warning("sessions: not read: %s: %s", type(error).__name__, error)
            return row, [*missing, NOT_READ]
        return with_session(row, session, at), missing

    def close(self) -> None:
        """Push the waiting events and stop."""
        self._writer.shutdown(wait=True)
        self._reader.shutdown(wait=False, cancel_futures=True)

    def _start(self) -> None:
        if self._busy or not self._waiting:
            return
        group, events = [], 0
        while self._waiting and events < MAX_GROUP:
            group.append(self._waiting.popleft())
            events += len(group[-1][0])
        self._busy = True
        loop = asyncio.get_running_loop()
        call = loop.run_in_executor(self._writer, self._push, [event for some, _ in group for event in some])
        call.add_done_callback(lambda call: self._finish(call, [done for _, done in group]))

    def _finish(self, call: "asyncio.Future[None]", waiting: list["asyncio.Future[None]"]) -> None:
        self._busy = False
        error = call.exception()
        for done in waiting:
            if done.done():  # the caller is gone
                continue
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)
        self._start()

    def _push(self, events: list[Event]) -> None:
        from feature_repo import Sessions

        self._written = self._written or Sessions(self._settings)
        try:
            self._written.push(events)
        except Exception:
            self._written = None  # opened anew by the next push
            raise

    def _latest(self, user_id: str) -> dict[str, Any] | None:
        from feature_repo import Sessions

        self._read = self._read or Sessions(self._settings)
        try:
            return self._read.latest(user_id)
        except Exception:
            self._read = None
            raise

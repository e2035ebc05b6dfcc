"""Ranking in threads, in groups: requests that arrive while lists are being made share the next call.

One list costs twice as much alone as in a group of eight. Groups form only from waiting requests, so the throughput
rises under load and a single request never waits for others.
"""

import asyncio
import logging
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bento.user_states import UNAVAILABLE

if TYPE_CHECKING:
    from zhiyin.recommender.lists import Slate
    from zhiyin.recommender.recommender import Recommender

logger = logging.getLogger("bentoml.zhiyin")

GROUP = 16  # users ranked in one call at most: bounds what a request can wait for

Outcome = tuple["Slate", list[str]]


@dataclass(frozen=True)
class _Request:
    recommender: "Recommender"
    state: dict[str, Any]
    k: int
    explain: Literal["none", "text"]
    contributions: bool
    new_only: bool | None
    discoveries: float | None
    done: "asyncio.Future[Outcome]"

    def goes_with(self, other: "_Request") -> bool:
        return self.recommender is other.recommender and self.arguments == other.arguments

    @property
    def arguments(self) -> tuple[int, Literal["none", "text"], bool, bool | None, float | None]:
        return self.k, self.explain, self.contributions, self.new_only, self.discoveries


class Ranking:
    """``threads`` calls at a time. Used from the event loop alone, so its queue needs no lock."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="ranking")
        self._free = threads
        self._waiting: deque[_Request] = deque()

    async def rank(
        self,
        recommender: "Recommender",
        state: dict[str, Any],
        k: int,
        explain: Literal["none", "text"],
        contributions: bool = False,
        new_only: bool | None = None,
        discoveries: float | None = None,
    ) -> Outcome:
        """A user's slate, and what was missing because the user's row could not be ranked."""
        done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        asked = k, explain, contributions, new_only, discoveries
        self._waiting.append(_Request(recommender, state, *asked, done))
        self._start()
        return await done

    def close(self) -> None:
        self._pool.shutdown()

    def _start(self) -> None:
        while self._free and self._waiting:
            first = self._waiting[0]
            group = [request for request in self._waiting if request.goes_with(first)][:GROUP]
            taken = {id(request) for request in group}
            self._waiting = deque(request for request in self._waiting if id(request) not in taken)
            self._free -= 1
            call = asyncio.get_running_loop().run_in_executor(self._pool, _rank, group)
            call.add_done_callback(lambda call, group=group: self._finish(call, group))  # type: ignore[misc]

    def _finish(self, call: "asyncio.Future[list[Outcome]]", group: list[_Request]) -> None:
        self._free += 1
        error = call.exception()
        for place, request in enumerate(group):
            if request.done.done():  # the caller hung up
                continue
            if error is not None:
                request.done.set_exception(error)
            else:
                request.done.set_result(call.result()[place])
        self._start()


def _rank(group: list[_Request]) -> list[Outcome]:
    """Runs in a ranking thread. A row that fails gives its user a list that is not personal, and affects no other."""
    from zhiyin.recommender.recommender import Request

    first = group[0]
    asked = first.k, first.explain, first.contributions, Request(first.new_only, first.discoveries)
    try:
        slates = first.recommender.recommend([request.state for request in group], *asked)
        return [(slate, []) for slate in slates]
    except Exception:
        if len(group) > 1:
            return [outcome for request in group for outcome in _rank([request])]
        user_id = first.state["user_id"]
        logger.exception("recommend: the state of %s cannot be ranked; popular items stand in", user_id)
        return [(first.recommender.recommend([{"user_id": user_id}], *asked)[0], [UNAVAILABLE])]

"""The running service as the routes beside ``POST /recommend`` use it."""

from typing import TYPE_CHECKING, Any, Protocol

from starlette.requests import Request

from zhiyin.settings import Settings

if TYPE_CHECKING:
    from bento.champion import ChampionWatch
    from bento.clock import ServiceClock
    from bento.durable_log import DurableLog
    from bento.live import LiveSessions
    from bento.user_states import UserStates


class RunningService(Protocol):
    """What bento/service.py constructs when it starts."""

    settings: Settings
    key: bytes
    states: "UserStates"
    champions: "ChampionWatch"
    events: "DurableLog"
    live: "LiveSessions"
    clock: "ServiceClock"

    def document(self) -> dict[str, Any]:
        """The OpenAPI document."""


def service_of(request: Request) -> RunningService:
    """The service that answers a request; it sets itself as the application's state when it starts."""
    service: RunningService = request.app.state.service
    return service

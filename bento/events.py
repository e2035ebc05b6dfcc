"""``POST /events``: pseudonymise what a user did, write it to disk, acknowledge it, and update the live session.

JSON lines under ``feedback/events/day=YYYY-MM-DD/``, the day of arrival, with the contract's columns, written like
impressions.
"""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from bento.clock import SLOW_CLOCK
from bento.effects import effects
from bento.event_schemas import Event, EventsRequest, EventsResponse, events_refusal, future
from bento.request_validation import refuse_head, too_large
from bento.running import service_of
from bento.schemas import Problem, Refusal, refuse
from zhiyin.contract import ITEM_ID, OCCURRED_AT, USER_ID
from zhiyin.pseudonym import pseudonymise

MAX_BODY = 256 * 1024  # bytes


async def post(request: Request) -> Response:
    """Write the events to the log and to the live session."""
    service = service_of(request)
    if refused := refuse_head(request.scope, MAX_BODY):
        return refused
    body = b""
    try:
        async for part in request.stream():
            body += part
            if len(body) > MAX_BODY:
                return too_large(MAX_BODY)
    except ClientDisconnect:
        return Response(status_code=400)
    try:
        given = EventsRequest.model_validate_json(body)
    except ValidationError as error:
        return refuse(400, events_refusal(error))
    champion = service.champions.current
    received = datetime.now(UTC)
    if refusal := future(given.events, received, SLOW_CLOCK):
        return refuse(400, refusal)
    user_id = pseudonymise(service.key, given.user_id)
    moment = service.clock.now(champion.recommender.as_of if champion else None)
    basket = uuid4().hex  # what is taken together in one moment is one basket
    records = [_record(user_id, event, received, moment, basket) for event in given.events]
    try:
        await asyncio.gather(*(asyncio.wrap_future(service.events.append(record)) for record in records))
    except Exception:  # logged where it happened
        problem = Problem(field="log", problem="The events could not be written to disk.", cure="Send them again.")
        return refuse(503, Refusal.of(problem), {"Retry-After": "5"})
    pushed = _of_session(records)
    told = await effects(service, user_id, pushed)
    answer = EventsResponse(
        accepted=len(records),
        event_ids=[record["event_id"] for record in records],
        missing=await service.live.push(pushed),
        without_effect=told,
        clock=moment,
    )
    return Response(answer.model_dump_json(), media_type="application/json")


def _record(user_id: str, event: Event, received: datetime, now: datetime, basket: str) -> dict[str, Any]:
    """A line of the log: the contract's columns, and the request whose list led to the event."""
    moment = event.occurred_at or now
    together = f"{basket}-{moment.timestamp():.6f}" if event.event_type == "purchase" else None
    return {
        "event_id": event.event_id or uuid4().hex,
        USER_ID: user_id,
        ITEM_ID: event.item_id,
        "event_type": event.event_type,
        "value": event.value,
        "amount": event.amount,
        "query_text": event.query_text,
        "basket_id": event.basket_id or together,
        "session_id": event.session_id,
        "request_id": event.request_id,
        OCCURRED_AT: moment.astimezone(UTC).isoformat(timespec="microseconds"),
        "ingested_at": received.isoformat(timespec="microseconds"),
        "source": "service",
    }


def _of_session(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the sessions are made from."""
    return [{**record, OCCURRED_AT: datetime.fromisoformat(record[OCCURRED_AT])} for record in records]

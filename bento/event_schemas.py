"""Request and answer of ``POST /events``."""

import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from bento.schemas import Problem, RecommendRequest, Refusal

MAX_EVENTS = 100
TEXT = 1024  # characters
MOST_PIECES, MOST_MONEY = 1_000_000, 100_000_000  # of one event
FIRST_MOMENT = datetime(1970, 1, 1, tzinfo=UTC)

ItemId = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) is int else value)]


class Event(BaseModel):
    """One event of a user."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    event_type: Literal["view", "search", "click", "cart", "purchase", "rating", "dismiss", "remove"]
    item_id: ItemId | None = Field(None, min_length=1, max_length=256, description="your own id of the item")
    query_text: str | None = Field(None, min_length=1, max_length=TEXT, description="what was searched for")
    value: float | None = Field(
        None,
        ge=0,
        le=MOST_PIECES,
        allow_inf_nan=False,
        description=f"pieces, or the grade of a rating, up to {MOST_PIECES:,}; a purchase without it is of one piece",
    )
    amount: float | None = Field(
        None, ge=0, le=MOST_MONEY, allow_inf_nan=False, description=f"money, up to {MOST_MONEY:,}"
    )
    basket_id: str | None = Field(None, min_length=1, max_length=256)
    session_id: str | None = Field(None, min_length=1, max_length=256)
    request_id: str | None = Field(
        None, min_length=1, max_length=64, description="of the list that the item was chosen from"
    )
    event_id: str | None = Field(None, min_length=1, max_length=64, description="your own id; made where there is none")
    occurred_at: AwareDatetime | None = Field(
        None, description="ISO 8601 with a time zone; the moment of arrival where there is none"
    )

    @field_validator("item_id", "query_text", "basket_id", "session_id", "request_id", "event_id")
    @classmethod
    def _printable(cls, text: str | None) -> str | None:
        if text is not None and any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text):
            raise ValueError("control characters are not allowed")
        return text

    @field_validator("occurred_at")
    @classmethod
    def _of_our_time(cls, moment: datetime | None) -> datetime | None:
        if moment is not None and moment < FIRST_MOMENT:
            raise ValueError(f"{moment.isoformat()} is before {FIRST_MOMENT.year}")
        return moment

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.event_type == "search" and self.query_text is None:
            raise ValueError("a search needs query_text")
        if self.event_type != "search" and self.item_id is None:
            raise ValueError(f"a {self.event_type} needs item_id")
        if self.event_type == "rating" and self.value is None:
            raise ValueError("a rating needs value")
        if self.event_type == "purchase" and self.value is None:
            if "value" in self.model_fields_set:
                raise ValueError("value is empty: say how many pieces, or leave it out for one")
            self.value = 1.0
        return self


class EventsRequest(BaseModel):
    """The body of ``POST /events``: what one user did, in any order."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"user_id": "1609", "events": [{"event_type": "purchase", "item_id": "819063"}]}},
    )

    user_id: Annotated[str, *RecommendRequest.model_fields["user_id"].metadata] = Field(
        description="your own id of the user, as in POST /recommend"
    )
    events: list[Event] = Field(min_length=1, max_length=MAX_EVENTS)


class WithoutEffect(BaseModel):
    """An event that lists do not follow."""

    event_id: str
    reason: str = Field(
        description="unknown_item: of no item that the model knows; before_state: before the stored state of the user, "
        "which the next run corrects; type_not_learned: of a type that this model does not read."
    )


class EventsResponse(BaseModel):
    """The answer: every event is on disk."""

    accepted: int
    event_ids: list[str] = Field(description="In the order of the events; send one again under its id, if you must.")
    missing: list[str] = Field(
        description="session_not_updated: the events are kept, but lists do not follow them yet; empty: nothing."
    )
    without_effect: list[WithoutEffect] = Field(
        description="What will not change a list before the next run lands it, or not at all; empty: all events do."
    )
    clock: datetime = Field(description="The service's clock: the moment of an event that was sent without one.")


def events_refusal(error: ValidationError) -> Refusal:
    """Say of each field what is wrong, and what is expected."""
    return Refusal.of(*(_problem(detail) for detail in error.errors(include_url=False, include_context=False)))


def _problem(detail: Any) -> Problem:
    place = ".".join(str(part) for part in detail["loc"])[:256] or "body"
    fields = Event.model_fields if place.startswith("events.") else EventsRequest.model_fields
    known = fields.get(str(detail["loc"][-1])) if detail["loc"] else None
    cure = f"Expected {known.description}." if known and known.description else f"The fields are {', '.join(fields)}."
    return Problem(field=place, problem=f"{detail['msg'].removeprefix('Value error, ')}.", cure=cure)


def future(events: list[Event], now: datetime, tolerance: timedelta) -> Refusal | None:
    """The refusal of events that have not happened yet; ``tolerance``: how far the caller's clock may be ahead."""
    problems = [
        Problem(
            field=f"events.{place}.occurred_at",
            problem=f"{event.occurred_at.isoformat()} is in the future.",
            cure=f"It is {now.isoformat(timespec='seconds')} by the server's clock: send the moment of the event.",
        )
        for place, event in enumerate(events)
        if event.occurred_at is not None and event.occurred_at > now + tolerance
    ]
    return Refusal.of(*problems) if problems else None

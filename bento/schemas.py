"""Request and answer of ``POST /recommend``, and the refusal of an invalid request."""

import json
from datetime import datetime
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from starlette.responses import Response

MAX_USER_ID = 256  # characters


def _as_text(value: Any) -> Any:
    """Whole numbers are ids too (many systems count their users): 1609 means "1609". Booleans are not ids."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class RecommendRequest(BaseModel):
    """The body of ``POST /recommend``. The field descriptions are also part of a refusal."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"user_id": "1609", "k": 10, "explain": "text"}}
    )

    user_id: Annotated[
        str,
        BeforeValidator(_as_text, json_schema_input_type=str | int),
        Field(
            min_length=1,
            max_length=MAX_USER_ID,
            pattern=r"\S",
            description=f"your own id of the user: a string of 1 to {MAX_USER_ID} characters, or a whole number",
        ),
    ]
    k: int = Field(10, strict=True, ge=1, le=100, description="how many items: a whole number from 1 to 100")
    explain: Literal["none", "text"] = Field(
        "none", description='"none", or "text" for a reason in words with every item'
    )
    new_only: bool | None = Field(
        None,
        strict=True,
        description="true, or false: whether the list holds nothing that the user already took; without it, as the "
        "recipe of the dataset says",
    )
    discoveries: float | None = Field(
        None,
        ge=0,
        le=1,
        description="a number from 0 to 1: at least this share of the list is new to the user; without it, as the "
        "slate rules say",
    )
    contributions: bool = Field(
        False, strict=True, description="true, or false: whether each item has what each feature added to its score"
    )


class RecommendedItem(BaseModel):
    """One line of the list."""

    item_id: str
    title: str
    rank: int = Field(description="1 is the best.")
    score: float = Field(description="The ranker's score: comparable within one list only.")
    probability: float | None = Field(
        description="Chance that the user takes the item within the label window after as_of (14 days unless "
        "ZHIYIN_LABEL_DAYS says otherwise); null where nothing is known of the user."
    )
    reason: str | None = Field(description='In words when explain is "text", else null.')
    evidence: list[dict[str, Any]] = Field(
        description='Facts that raised the score, most first: {"kind": …, and what that kind states}; "said": true for '
        "those that the reason states."
    )
    contributions: dict[str, float] | None = Field(
        description='When asked for: what each feature added to the score, and "base", from which every score starts; '
        "they sum to it. Null where the score is not the ranker's."
    )


class RecommendResponse(BaseModel):
    """The answer of ``POST /recommend``."""

    request_id: str = Field(description="Names this list in the log of impressions; send it back with feedback.")
    model_version: str = Field(description="Digest of the bundle that made the list.")
    as_of: datetime = Field(
        description="The moment of the item state: popularity, prices, promotions and availability are as of then."
    )
    model_as_of: datetime = Field(description="The moment up to which the model has learned; at most as_of.")
    user_state_at: datetime | None = Field(
        description="The moment of the user's stored state, without live events; null where nothing is stored."
    )
    at: datetime = Field(
        description="The moment of the list: of the request, and never before the user's latest live event. Of a log "
        "that is replayed, that event's."
    )
    age_days: dict[str, float] = Field(description="How old user_state, item_state and model are at that moment.")
    moments_differ: bool = Field(description="Whether as_of, model_as_of and user_state_at are not all the same.")
    missing: list[str] = Field(
        description="What was missing or old when the list was made: unknown_user, user_state_unavailable, "
        "stale_features, stale_model, stale_item_state and others; empty: nothing. Stale: over ZHIYIN_STALE_DAYS "
        "(7 by default) older than the latest of as_of, model_as_of and user_state_at; features of users have limits "
        "of their own."
    )
    items: list[RecommendedItem]


class Problem(BaseModel):
    """One thing wrong with a request."""

    field: str = Field(description='The field, or "body", "content-type", "method".')
    problem: str
    cure: str


class Refusal(BaseModel):
    """The body of every 4xx and 503 answer."""

    error: str = Field(description="All problems and their cures in one line.")
    problems: list[Problem]

    @classmethod
    def of(cls, *problems: Problem) -> Self:
        line = " ".join(f"{p.field}: {p.problem} {p.cure}" for p in problems)
        return cls(error=line, problems=list(problems))


def refuse(status: int, refusal: Refusal, headers: dict[str, str] | None = None) -> Response:
    return Response(refusal.model_dump_json(), status, headers, media_type="application/json")


def no_model() -> Response:
    """The answer while no model is promoted."""
    problem = Problem(field="model", problem="No model is promoted yet.", cure="Run the DAG, then try again.")
    return refuse(503, Refusal.of(problem), {"Retry-After": "5"})


def refusal_of(error: ValidationError) -> Refusal:
    """Name for each field what is wrong and what is expected."""
    return Refusal.of(*(_problem(detail) for detail in error.errors(include_url=False, include_context=False)))


def _problem(detail: Any) -> Problem:
    fields = RecommendRequest.model_fields
    if detail["type"] == "json_invalid":
        return Problem(field="body", problem=f"{detail['msg']}.", cure='Send JSON, such as {"user_id": "1609"}.')
    if not detail["loc"]:
        return Problem(field="body", problem="Must be a JSON object.", cure='Send {"user_id": "1609"}, for example.')
    name = str(detail["loc"][0])
    if detail["type"] == "extra_forbidden":
        close = get_close_matches(name, fields, n=1)
        cure = f"Did you mean {close[0]}?" if close else f"The fields are {', '.join(fields)}."
        return Problem(field=name[:MAX_USER_ID], problem="No such field.", cure=cure)
    expected = fields[name].description
    if detail["type"] == "missing":
        return Problem(field=name, problem="Missing.", cure=f"Expected {expected}.")
    return Problem(field=name, problem=f"{_shown(detail['input'])} is not accepted.", cure=f"Expected {expected}.")


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 40 else f"{text[:40]}…" + text[0] * (text[0] == '"')

"""Validation of ``POST /recommend`` before BentoML parses it: a refusal names the field and the cure."""

from pydantic import ValidationError
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bento.schemas import Problem, RecommendRequest, Refusal, refusal_of, refuse

ROUTE = "/recommend"
MAX_BODY = 16 * 1024  # bytes; a valid request is far smaller


class RequestValidation:
    """ASGI middleware before BentoML's own parsing.

    BentoML answers an invalid body with pydantic's internal terms, guesses at content types that it does not know, and
    reads a body of any size. So the body is checked here, and passed on unchanged when it is valid.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != ROUTE:
            await self.app(scope, receive, send)
            return
        body = b""
        refused = refuse_head(scope, MAX_BODY)
        while refused is None:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            if len(body) > MAX_BODY:
                refused = too_large(MAX_BODY)
            if not message.get("more_body", False):
                break
        refused = refused or _refuse_body(body)
        if refused is not None:
            await refused(scope, receive, send)
        else:
            await self.app(scope, _replay(body, receive), send)


def refuse_head(scope: Scope, max_body: int) -> Response | None:
    """The refusal of a request by its method, content type or length; None where these are right."""
    if scope["method"] != "POST":
        problem = Problem(field="method", problem=f"{scope['method']} is not supported.", cure="Send a POST.")
        return refuse(405, Refusal.of(problem), {"Allow": "POST"})
    headers = dict(scope["headers"])
    media_type = headers.get(b"content-type", b"application/json").decode("latin-1").split(";")[0].strip().lower()
    if media_type != "application/json":
        problem = Problem(
            field="content-type", problem=f"{media_type[:80]} is not accepted.", cure="Send application/json."
        )
        return refuse(415, Refusal.of(problem))
    length = headers.get(b"content-length", b"0")
    return too_large(max_body) if length.isdigit() and int(length[:20]) > max_body else None


def too_large(max_body: int) -> Response:
    problem = Problem(field="body", problem=f"Larger than {max_body} bytes.", cure="Send less at once.")
    return refuse(413, Refusal.of(problem), {"Connection": "close"})


def _refuse_body(body: bytes) -> Response | None:
    try:
        RecommendRequest.model_validate_json(body)
    except ValidationError as error:
        return refuse(400, refusal_of(error))
    return None


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed

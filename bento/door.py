"""The door of ``POST /recommend``: what is not a valid request is refused here, with the field and the cure."""

from pydantic import ValidationError
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bento.schemas import Problem, RecommendRequest, Refusal, refusal_of

ROUTE = "/recommend"
MAX_BODY = 16 * 1024  # bytes; a valid request is far smaller


def refuse(status: int, refusal: Refusal, headers: dict[str, str] | None = None) -> Response:
    return Response(refusal.model_dump_json(), status, headers, media_type="application/json")


class Door:
    """ASGI middleware before BentoML's own parsing.

    BentoML answers a wrong body with pydantic's internal terms, guesses at content types it does not know, and reads
    a body of any size; so the body is checked here and handed on unchanged when it is good.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != ROUTE:
            await self.app(scope, receive, send)
            return
        body = b""
        refused = _refuse_head(scope)
        while refused is None:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            if len(body) > MAX_BODY:
                refused = _too_large()
            if not message.get("more_body", False):
                break
        refused = refused or _refuse_body(body)
        if refused is not None:
            await refused(scope, receive, send)
        else:
            await self.app(scope, _replay(body, receive), send)


def _refuse_head(scope: Scope) -> Response | None:
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
    return _too_large() if length.isdigit() and int(length[:20]) > MAX_BODY else None


def _too_large() -> Response:
    problem = Problem(
        field="body", problem=f"Larger than {MAX_BODY} bytes.", cure="Send one user_id and the fields beside it."
    )
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

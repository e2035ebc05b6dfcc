"""Routes beside ``POST /recommend``.

``POST /events``, ``GET /features``, the documentation (``/docs``), the page (``/``) and its helpers (``/page/…``).
"""

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import duckdb
from pydantic_core import to_jsonable_python
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from bento import events, features, page_data
from bento.running import service_of
from zhiyin.language.words import Words
from zhiyin.pseudonym import pseudonymise

logger = logging.getLogger("bentoml.zhiyin")

FOLDER = Path(__file__).parent / "page"
# Everything comes from this server and nothing is sent elsewhere (law 11).
CSP = {"Content-Security-Policy": "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'"}

# bento/events.py refuses methods other than POST with an error that names the cure.
METHODS = ["POST", "GET", "PUT", "PATCH", "DELETE"]

Endpoint = Callable[[Request], Awaitable[Response]]


async def _index(request: Request) -> Response:
    if not service_of(request).settings.page:
        return RedirectResponse("/docs")
    return FileResponse(FOLDER / "index.html", headers=CSP)


async def _docs(_: Request) -> Response:
    """BentoML's Swagger UI in our own page, because BentoML's page reports every visit to Google."""
    return FileResponse(FOLDER / "docs.html", headers=CSP)


async def _openapi(request: Request) -> Response:
    return JSONResponse(service_of(request).document())


def _helper(answer: Callable[[Request], Awaitable[Any]]) -> Endpoint:
    """An endpoint of the page: 404 when the page is switched off, and errors that name the cure."""

    async def endpoint(request: Request) -> Response:
        if not service_of(request).settings.page:
            return JSONResponse({"error": "The page is switched off (ZHIYIN_PAGE)."}, 404)
        try:
            return JSONResponse(to_jsonable_python(await answer(request)))
        except (FileNotFoundError, duckdb.IOException) as error:
            logger.warning("page: %s", error)
            return JSONResponse({"error": "Nothing is published yet. Run the DAG, then reload."}, 503)

    return endpoint


@_helper
async def _status(request: Request) -> Any:
    service = service_of(request)
    champion = service.champions.current
    return {
        "dataset": service.settings.dataset,
        "model_version": champion and champion.recommender.version,
        "as_of": champion and champion.recommender.as_of,
        "items": champion and len(champion.recommender.catalogue),
        "words": (champion.recommender.wording.words if champion else Words()).model_dump(),
    }


@_helper
async def _samples(request: Request) -> Any:
    return {"users": await run_in_threadpool(page_data.sample_users, service_of(request).settings)}


@_helper
async def _user(request: Request) -> Any:
    service = service_of(request)
    user_id = request.query_params.get("user_id", "")
    pseudonym = pseudonymise(service.key, user_id)
    past = await run_in_threadpool(page_data.history, service.settings, pseudonym)
    state, missing = await service.states.read(pseudonym)
    interests = sorted(
        (
            {"name": name, "share": share}
            for names, shares in (("categories", "shares"), ("labels", "label_shares"))
            for name, share in zip(
                state.get(f"affinity_{names}") or [], state.get(f"affinity_{shares}") or [], strict=True
            )
        ),
        key=lambda interest: -interest["share"],
    )
    return {"user_id": user_id, **past, "interests": interests[:8], "missing": missing}


@_helper
async def _items(request: Request) -> Any:
    ids = request.query_params.getlist("id")[:100]
    return await run_in_threadpool(page_data.describe_items, service_of(request).settings, ids) if ids else {}


app = Starlette(
    routes=[
        Route("/", _index),
        Route("/docs", _docs),
        Route("/docs.json", _openapi),
        Route("/events", events.post, methods=METHODS),
        Route("/features", features.get),
        Route("/page/status", _status),
        Route("/page/users", _samples),
        Route("/page/user", _user),
        Route("/page/items", _items),
        Mount("/page", StaticFiles(directory=FOLDER)),
    ]
)

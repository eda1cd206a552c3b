"""The web server as one object: routes, gate, errors, and the life of the App inside the life of the server.

Never does: listen (``run`` does), answer anything itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from quell import __version__
from quell.app import App
from quell.errors import InvalidInput, Problem, QuellError
from quell.incident.incident import UndeclaredTransition
from quell.runbook.invalid import plainly
from quell.web import (
    alertmanager,
    alerts,
    api,
    duty,
    enqueue,
    execution,
    ingest,
    pages,
    past,
    quiet,
    reference,
    regroup,
    rehearse,
    sign,
    silencing,
    sources,
    switches,
    tokens,
)  # fmt: skip
from quell.web.answers import Json, answer_to
from quell.web.described import Described
from quell.web.desk import Desk
from quell.web.forms import Sent
from quell.web.gate import Gate
from quell.web.hot import Hot
from quell.web.live import Live
from quell.web.needs import Needs
from quell.web.paths import Paths, chosen
from quell.web.render import STATIC
from quell.web.repeats import Repeats

OPENAPI = "/api/v1/openapi.json"


def make_server(app: App, *, started: bool = False) -> FastAPI:
    """The ASGI application. Its lifespan starts and stops ``app``, unless the caller has ``started`` it.

    Raises ``Permanent`` when the token's reference leads nowhere, ``InvalidInput`` when a source's path is one of ours.
    """
    server = _Server(
        title="Quell", version=__version__, openapi_url=OPENAPI, docs_url=None, redoc_url=None,
        default_response_class=Json, lifespan=_life(app, started), redirect_slashes=False,
        description="Turns a page into a handled incident. Errors are objects with the key `error`.",
    )  # fmt: skip
    server.state.app = app
    server.state.live = Live(app, pages.Renderer(app))
    server.state.sent = Sent()
    shared, guard = app.server_token(), app.settings.server
    server.state.desk = Desk(lambda: app.access, shared=shared, insecure=guard.insecure)
    parts = (
        ingest, enqueue, alertmanager, silencing, reference, api, alerts, execution, duty, switches, quiet, regroup,
        rehearse, sources, past, tokens, sign, pages,
    )  # fmt: skip
    for part in parts:
        server.include_router(part.router)
    files = Mount("/static", _Static(directory=STATIC), name="static")
    server.router.routes.append(files)
    # As they are matched; that of the description comes first of all.
    needs = Needs([server.router.routes[0], *(route for part in parts for route in part.router.routes), files])
    server.state.needs = needs
    for kind in (QuellError, HTTPException, UndeclaredTransition):
        server.add_exception_handler(kind, _told)
    server.add_exception_handler(RequestValidationError, _invalid)
    server.add_middleware(Repeats, hub=app)
    server.add_middleware(_Foreseen)
    server.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=5)  # streams of events are left alone
    gate = Gate(
        Hot(server.behind, hub=app), settings=guard, desk=server.state.desk, needs=needs, open_webhooks=shared is None,
        guards_itself=app.guards_itself, knows=app.reception.knows,
        paused=lambda: "; ".join(switches.header(pause) for pause in app.paused),
    )  # fmt: skip
    server.front = Paths(gate, sources=chosen(app.settings.sources, needs))
    return server


class _Server(Described):
    """The routes, and what every request meets before it comes to them."""

    front: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["app"] = self
            await self.front(scope, receive, send)
        else:
            await self.behind(scope, receive, send)

    async def behind(self, scope: Scope, receive: Receive, send: Send) -> None:
        await super().__call__(scope, receive, send)


def _life(app: App, started: bool) -> Callable[[FastAPI], Any]:
    @contextlib.asynccontextmanager
    async def life(server: FastAPI) -> AsyncIterator[None]:
        if not started:
            await app.start()
        live: Live = server.state.live
        live.start()
        try:
            yield
        finally:
            live.close()
            if not started:
                await app.stop()

    return life


async def _told(request: Request, error: Exception) -> Response:
    return answer_to(request.scope, error)


async def _invalid(request: Request, error: Exception) -> Response:
    """A path or a query that FastAPI refused, told as we tell everything that is wrong."""
    assert isinstance(error, RequestValidationError)
    problems = [
        Problem(plainly(item), item["type"], path=".".join(map(str, item["loc"])), found=str(item["input"])[:80])
        for item in error.errors()
    ]
    return answer_to(request.scope, InvalidInput(problems))


class _Foreseen:
    """What nobody foresaw becomes a 500 that tells nothing, and the connection goes on."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def noted(message: Any) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, noted)
        except Exception as error:
            if begun or scope["type"] != "http":
                raise
            await answer_to(scope, error)(scope, receive, send)


class _Static(StaticFiles):
    """Files whose address holds the hash of their content may be kept for good."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = (
            "public, max-age=31536000, immutable" if b"v=" in scope["query_string"] else "no-cache"
        )
        return response

"""The short way for webhooks: behind the gate, before everything that only pages and the API need.

Every alert of a storm comes through here, and half of what taking one in cost was finding its route. Whatever is not
plainly a webhook (another method, an ``Idempotency-Key``) goes the long way, to the same handler. Never does: let
anybody in (the gate has), answer differently from the long way.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from quell.web import ingest
from quell.web.answers import answer_to
from quell.web.repeats import KEY

PREFIX = "/webhooks/"


class Hot:
    def __init__(self, app: ASGIApp, *, hub: object) -> None:
        self.app, self.hub = app, hub

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        source = source_of(scope)
        if source is None:
            await self.app(scope, receive, send)
            return
        request = Request({**scope, "path_params": {"source": source}, "app": self.hub}, receive)
        try:
            answer = await ingest.webhook(request)
        except Exception as error:  # told as the long way tells it; what nobody foresaw as a bare 500
            answer = answer_to(scope, error)
        await answer(scope, receive, send)


def source_of(scope: Scope) -> str | None:
    """The source that a plain webhook is for."""
    if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].startswith(PREFIX):
        return None
    source: str = scope["path"][len(PREFIX) :]
    if not source or "/" in source or KEY in Headers(scope=scope):
        return None
    return source

"""The short way for webhooks: behind the gate, before everything that only pages and the API need.

Every alert of a storm comes through here, and most of what taking one in cost was finding its route and wrapping it up.
Whatever is not plainly a webhook (another method, an ``Idempotency-Key``) goes the long way, to the same use case.
Never does: let anybody in (the gate has), answer differently from the long way.
"""

from __future__ import annotations

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from quell.app import App
from quell.web import ingest
from quell.web.answers import answer_to
from quell.web.heads import heads_of
from quell.web.reading import CALLER
from quell.web.repeats import KEY

PREFIX = "/webhooks/"


class Hot:
    def __init__(self, app: ASGIApp, *, hub: App) -> None:
        self.app, self.hub = app, hub

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        source = source_of(scope)
        if source is None:
            await self.app(scope, receive, send)
            return
        try:
            if (body := await _body(receive)) is None:
                return
            told, status = await ingest.taken_in(self.hub, source, heads_of(scope), body, scope.get(CALLER))
        except Exception as error:  # told as the long way tells it; what nobody foresaw as a bare 500
            await answer_to(scope, error)(scope, receive, send)
            return
        await _send(send, status, orjson.dumps(told))


def source_of(scope: Scope) -> str | None:
    """The source that a plain webhook is for."""
    if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].startswith(PREFIX):
        return None
    source: str = scope["path"][len(PREFIX) :]
    if not source or "/" in source or KEY in heads_of(scope):
        return None
    return source


async def _body(receive: Receive) -> bytes | None:
    """All of it; the gate has seen to its size. None when the sender has gone."""
    parts = list[bytes]()
    while True:
        message: Message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _send(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

"""``Idempotency-Key``: a POST that is sent again gets the answer of the first, and has no second effect.

As draft-ietf-httpapi-idempotency-key-header says: 400 for a key that is none, 409 while the first is under way, 422
for a key that stands for another request. An answer is kept whether success or error, as the draft says, since a key
stands for one request and its one answer: whoever wants another attempt sends another key. Not kept are 5xx (nobody
knows, ask again) and 401 and 403 (whoever was not let in must not take a key away from whoever is).
Never does: have an effect, look at a request without a key.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

import structlog
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from quell.app import App
from quell.errors import InvalidInput, Problem, Unavailable
from quell.incident.access import Caller
from quell.once import Answer, Keyed, under_way
from quell.web.answers import Json
from quell.web.reading import CALLER

KEY, REPLAYED = "idempotency-key", "idempotency-replayed"
LONGEST_KEY = 255
LONGEST_BODY = 256 * 1024
"""An answer that is longer is not kept: it is made anew, from what the first has committed."""
WEBHOOKS = "/webhooks/"
COVERED = ("/api/v1/", "/incidents/trigger", WEBHOOKS)
SECRET = ("/api/v1/tokens", "/api/v1/sign-in-links")
"""What these answer is a secret, which nobody keeps. A name that is taken keeps a token from being made twice."""
OF_THE_ANSWER = ("content-type", "location")
"""Headers that are kept with it; the others are of the moment."""
NOT_KEPT = frozenset({401, 403})

_log = structlog.get_logger("quell")
_STRING = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_BARE = re.compile(r"[!#-+\--\[\]-~]+")


class Repeats:
    """Inside the gate: whoever comes here has been let in."""

    def __init__(self, app: ASGIApp, *, hub: App) -> None:
        self.app, self.hub = app, hub
        self._under_way: dict[str, Keyed] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _is_covered(scope) or not (given := Headers(scope=scope).getlist(KEY)):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        key, body = key_of(given), await Request(scope, receive).body()
        if scope["path"].startswith(WEBHOOKS):
            # The gate leaves that to the source; what was kept is only for whoever it lets in.
            self.hub.reception.verify(scope["path"].removeprefix(WEBHOOKS), headers, body)
        request = self.hub.once.request(key, fingerprint(scope, headers, body))
        if (first := self._under_way.get(key)) is not None:
            request.is_like(first.fingerprint)
            raise under_way()
        self._under_way[key] = request
        try:
            response = await self._answer(scope, receive, request, body)
        finally:
            del self._under_way[key]
        await response(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, request: Keyed, body: bytes) -> Response:
        kept = await self.hub.once.look(request)
        if kept is not None:
            return _response(kept, replayed=True)
        with self.hub.once.behalf(request):
            answer, headers = await _asked(self.app, scope, receive, body)
        if request.recalled and 400 <= answer.status < 500:
            # The first had its effect; what the use case asks for before it comes to that is not there any more.
            answer, headers = _told(request), {}
        if answer.status < 500 and answer.status not in NOT_KEPT and len(answer.body) <= LONGEST_BODY:
            try:
                await self.hub.once.keep(request, answer)
            except Unavailable as error:  # what was done is done, and the key was committed with it
                _log.warning("answer_not_kept", path=scope["path"], error=str(error))
        return _response(answer, headers, replayed=request.recalled)


def _is_covered(scope: Scope) -> bool:
    path: str = scope.get("path", "")
    return scope.get("method") == "POST" and path.startswith(COVERED) and not path.startswith(SECRET)


async def _asked(app: ASGIApp, scope: Scope, receive: Receive, body: bytes) -> tuple[Answer, Mapping[str, str]]:
    """The whole answer, and all of its headers."""
    request: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
    start: Message = {}
    parts: list[bytes] = []

    async def replay() -> Message:
        return request.pop() if request else await receive()

    async def collect(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
        else:
            parts.append(message.get("body", b""))

    await app(scope, replay, collect)
    headers = Headers(raw=start["headers"])
    kept = {name: headers[name] for name in OF_THE_ANSWER if name in headers}
    return Answer(start["status"], kept, b"".join(parts)), headers


def _response(answer: Answer, headers: Mapping[str, str] | None = None, *, replayed: bool) -> Response:
    response = Response(answer.body, answer.status, dict(headers or answer.headers))
    if replayed:
        response.headers[REPLAYED] = "true"
    return response


def _told(request: Keyed) -> Answer:
    """What is known of an effect whose own answer cannot be made any more."""
    told = (request.effect or {}).get("told", [])
    incidents = dict.fromkeys(event["id"] for event in told if event["stream"] == "incident")
    said = "this request had its effect before; its own answer was lost, and cannot be made any more"
    body = Json({"message": said, "incidents": list(incidents), "events": told}).body
    return Answer(200, {"content-type": Json.media_type}, bytes(body))


def key_of(given: list[str]) -> str:
    """A structured field's string (RFC 9651), as the draft asks for, or its bare text, as many send it.

    Raises ``InvalidInput`` (400).
    """
    text = given[0].strip()
    if string := _STRING.fullmatch(text):
        key = re.sub(r"\\(.)", r"\1", string[1])
    else:
        key = text if _BARE.fullmatch(text) else ""
    if len(given) == 1 and 0 < len(key) <= LONGEST_KEY:
        return key
    problem = Problem(
        "not an idempotency key", "key-malformed", path="header.idempotency-key", found=", ".join(given)[:80],
        expected=f"one string of 1 to {LONGEST_KEY} printable ASCII characters",
    )  # fmt: skip
    raise InvalidInput([problem])


def fingerprint(scope: Scope, headers: Headers, body: bytes) -> str:
    """What makes two requests the same one: method, path, query, who asks, body."""
    caller: Caller | None = scope.get(CALLER)  # None where a webhook checks its own credentials
    who = (caller.name, caller.tenant or "", caller.role.value) if caller else ()
    spoken_for = headers.get("x-quell-user", "")
    parts = (scope["method"], scope["path"], scope["query_string"].decode("latin-1"), spoken_for, *who)
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass"))
    digest.update(b"\0" + hashlib.sha256(body).digest())
    return digest.hexdigest()

"""The gate in front of everything: who may ask, under which name, how much, from which page.

A plain ASGI middleware, so that streams pass it untouched. In this order: the Host (DNS rebinding), the origin of a
change (CSRF), the token or the loopback, the size of the body while it arrives. It also adds the security headers.
Never does: know a route's meaning beyond the few paths that need no token.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
from collections.abc import Callable, Collection
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from quell.errors import QuellError, Refused
from quell.settings import ServerSettings
from quell.web.answers import Overloaded, answer_to

SESSION = "quell_session"
OPEN_PATHS = ("/static/", "/healthz", "/sign-in")
PAUSED = "x-quell-paused"
"""Says on every answer to whoever is let in what the kill switch covers."""
CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
BODY_WITHIN_S = 30.0
SECURITY = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}


class Gate:
    """``token`` None: only loopback clients. ``guards_itself(source)``: that webhook checks its own credentials.

    ``paused``: what is paused now, in words that fit into a header; nothing when nothing is.
    """

    def __init__(
        self, app: ASGIApp, *, settings: ServerSettings, token: str | None, guards_itself: Callable[[str], bool],
        paused: Callable[[], str],
    ) -> None:  # fmt: skip
        self.app, self.token, self.guards_itself, self.paused = app, token, guards_itself, paused
        self.limit = settings.max_body_bytes
        named = [*settings.allowed_hosts, urlsplit(settings.base_url).hostname or ""]
        if not settings.is_loopback:
            named.append(settings.host)
        self.hosts = frozenset(_bare(name) for name in named if name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        admitted = False

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY.items():
                    headers.setdefault(name, value)
                if admitted and (paused := self.paused()):
                    headers[PAUSED] = paused
            await send(message)

        try:
            admitted = self._admit(scope, Headers(scope=scope))
            receive = await self._measured(Headers(scope=scope), receive)
        except (QuellError, Overloaded) as error:
            await answer_to(scope, error)(scope, receive, guarded)
            return
        await self.app(scope, receive, guarded)

    def _admit(self, scope: Scope, headers: Headers) -> bool:
        """Whether it is known who asks; what needs no token is let in without."""
        host = headers.get("host", "")
        if not _is_loopback_name(_bare(host)) and _bare(host) not in self.hosts:
            raise Refused("host", f"this server is not {host!r}; name it in server.allowed_hosts", value=host)
        if scope["method"] in CHANGING:
            _same_site(headers, host)
        path = scope["path"]
        if path.startswith(OPEN_PATHS):
            return False
        if path.startswith("/webhooks/") and self.guards_itself(path.removeprefix("/webhooks/")):
            return False
        if self.token is not None:
            self._known(headers)
        elif not _is_loopback(scope.get("client")):
            raise Refused("loopback", "without server.token only this machine is served")
        return True

    def _known(self, headers: Headers) -> None:
        assert self.token is not None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _same(given.strip(), self.token):
            return
        if _same(_cookie(headers, SESSION), session_of(self.token)):
            return
        raise Refused("token", "a valid token is needed: Authorization: Bearer …")

    async def _measured(self, headers: Headers, receive: Receive) -> Receive:
        """The body, read up to the limit before anybody looks at it, as a ``receive`` of its own."""
        declared = headers.get("content-length", "")
        if not declared and "transfer-encoding" not in headers:
            return receive
        if declared.isdigit() and int(declared) > self.limit:
            raise Overloaded(f"the body has {declared} bytes; at most {self.limit} are read", limit=self.limit)
        try:
            async with asyncio.timeout(BODY_WITHIN_S):
                messages = await _read(receive, self.limit)
        except TimeoutError:
            raise Overloaded(f"the body did not arrive within {BODY_WITHIN_S:g} s", status=408) from None

        async def replay() -> Message:
            return messages.pop(0) if messages else await receive()

        return replay


async def _read(receive: Receive, limit: int) -> list[Message]:
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return [message]
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise Overloaded(f"the body has more than {limit} bytes", limit=limit)
        if not message.get("more_body"):
            return [{"type": "http.request", "body": b"".join(parts), "more_body": False}]


def session_of(token: str) -> str:
    """What a signed-in browser shows instead of the token itself."""
    return hmac.new(token.encode(), b"quell session", hashlib.sha256).hexdigest()


def same_token(given: str, wanted: str) -> bool:
    """Compared in constant time."""
    return _same(given, wanted)


def _same(given: str, wanted: str) -> bool:
    return bool(wanted) and hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


def _cookie(headers: Headers, name: str) -> str:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return morsel.value if morsel else ""


def _same_site(headers: Headers, host: str) -> None:
    """A change asked for by another site's page is refused; programs send neither header (Fetch Metadata, W3C)."""
    site = headers.get("sec-fetch-site", "none")
    if site not in ("same-origin", "none"):
        raise Refused("csrf", "a page of another site asked for this change", value=site, limit="same-origin")
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        raise Refused("csrf", "a page of another origin asked for this change", value=origin, limit=host)


def _bare(host: str) -> str:
    """Without port, brackets and case."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def _is_loopback_name(name: str) -> bool:
    return name in ("localhost",) or _is_loopback((name, 0))


def _is_loopback(client: Collection[object] | None) -> bool:
    """A client without an address came through a socket file: whoever may open that is let in."""
    if client is None:
        return True
    try:
        address = ipaddress.ip_address(str(next(iter(client))))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback

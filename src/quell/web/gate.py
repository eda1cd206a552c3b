"""The gate in front of everything: who may ask for what, how much, from which page.

A plain ASGI middleware, so that streams pass it untouched. In this order: the Host (DNS rebinding), the origin of a
change (CSRF), what the route needs, who asks and what they may, whose it is what they ask for, the size of the body
while it arrives. It also adds the security headers. Never does: decide what a route needs (``needs`` has the table).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from quell.errors import InvalidInput, Problem, QuellError, Refused
from quell.incident.access import Caller
from quell.settings import ServerSettings
from quell.web.answers import Overloaded, answer_to
from quell.web.desk import Desk, is_loopback
from quell.web.eager import within
from quell.web.heads import Heads, heads_of
from quell.web.needs import Needs
from quell.web.reading import CALLER, STILL

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
_SECURITY = tuple((name.encode(), value.encode()) for name, value in SECURITY.items())


class Gate:
    """``guards_itself(source)``: that webhook checks its own credentials; else whoever is on this machine may post
    alerts, unless the configuration has a token (``open_webhooks`` False). ``knows(kind, headers)``: a source of that
    type that checks its own credentials is shown them; so it is told where the address names no source.

    ``paused``: what is paused now, in words that fit into a header; nothing when nothing is.
    """

    def __init__(
        self, app: ASGIApp, *, settings: ServerSettings, desk: Desk, needs: Needs, open_webhooks: bool,
        guards_itself: Callable[[str], bool], knows: Callable[[str, Mapping[str, str]], bool],
        paused: Callable[[], str],
    ) -> None:  # fmt: skip
        self.app, self.desk, self.needs, self.open_webhooks = app, desk, needs, open_webhooks
        self.guards_itself, self.knows, self.paused = guards_itself, knows, paused
        self.limit = settings.max_body_bytes
        named = [*settings.allowed_hosts, urlsplit(settings.base_url).hostname or ""]
        if not settings.is_loopback:
            named.append(settings.host)
        self.hosts = frozenset(_bare(name) for name in named if name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                said = message["headers"] = list(message.get("headers", ()))
                names = {name for name, _ in said}
                said += [pair for pair in _SECURITY if pair[0] not in names]
                if CALLER in scope and (paused := self.paused()):
                    said.append((PAUSED.encode(), paused.encode("latin-1")))
            await send(message)

        try:
            heads = heads_of(scope)
            await self._admit(scope, heads)
            receive = await self._measured(heads, receive)
        except (QuellError, Overloaded) as error:
            await answer_to(scope, error)(scope, receive, guarded)
            return
        await self.app(scope, receive, guarded)

    async def _admit(self, scope: Scope, headers: Heads) -> None:
        """Says in ``scope`` who asks; what is public is let in without. Raises ``Refused``, ``NotFound``,
        ``InvalidInput``."""
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            # No database holds it, so nothing is called so; and no route need think of it.
            raise InvalidInput([Problem("the address has a NUL in it", "encoding")])
        host = headers.get("host", "")
        if (name := _bare(host)) not in self.hosts and not _is_loopback_name(name):
            raise Refused("host", f"this server is not {host!r}; name it in server.allowed_hosts", value=host)
        needed, named = self.needs.of(scope)
        if scope["method"] in CHANGING or "source" in named:  # a heartbeat may come by GET
            _same_site(headers, host)
        client = scope.get("client")
        if needed is None or self._is_open_webhook(named, headers, is_loopback(client)):
            return
        caller = await self.desk.who(headers, client)
        if not caller.may(needed):
            who = f"{caller.name} is" if caller.name else "you are"
            raise Refused("role", f"this needs the role {needed}; {who} {caller.role}", value=caller.role, limit=needed)
        await self._within(caller, named)
        scope[CALLER] = caller
        scope[STILL] = partial(self.desk.still, headers, client, caller)

    def _is_open_webhook(self, named: Mapping[str, str], headers: Heads, here: bool) -> bool:
        if not {"source", "kind"} & set(named):
            return False
        if self.open_webhooks and here:
            return True
        return self.knows(named["kind"], headers) if "kind" in named else self.guards_itself(named["source"])

    async def _within(self, caller: Caller, named: Mapping[str, str]) -> None:
        """What is another tenant's is not there. The one place, so that no route can forget it."""
        if caller.tenant is not None and (mine := {"incident", "approval"} & set(named)):
            await self.desk.within(caller.tenant, {name: named[name] for name in mine})

    async def _measured(self, headers: Heads, receive: Receive) -> Receive:
        """The body, read up to the limit before anybody looks at it, as a ``receive`` of its own."""
        declared = headers.get("content-length", "")
        if not declared and "transfer-encoding" not in headers:
            return receive
        if declared.isdigit() and int(declared) > self.limit:
            raise Overloaded(f"the body has {declared} bytes; at most {self.limit} are read", limit=self.limit)
        try:
            messages = await within(_read(receive, self.limit), BODY_WITHIN_S)
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


def _same_site(headers: Heads, host: str) -> None:
    """A change asked for by another site's page is refused; programs send neither header (Fetch Metadata, W3C)."""
    site = headers.get("sec-fetch-site", "none")
    if site not in ("same-origin", "none"):
        raise Refused("csrf", "a page of another site asked for this change", value=site, limit="same-origin")
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        raise Refused("csrf", "a page of another origin asked for this change", value=origin, limit=host)


@lru_cache(maxsize=256)
def _bare(host: str) -> str:
    """Without port, brackets and case."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def _is_loopback_name(name: str) -> bool:
    return name in ("localhost",) or is_loopback((name, 0))

"""Who asks: by a token, by a session's cookie, by the key of this machine's own commands; and signing in and out.

What was found out is remembered for a moment, so that a busy client costs the database little and a token that is
revoked, here or by another process, ends soon. Never does: decide what somebody may do.
"""

from __future__ import annotations

import hmac
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import lru_cache
from http.cookies import CookieError, SimpleCookie

import structlog

from quell import local
from quell.access import Access, cookie_digest, digest_of, secret, well_formed
from quell.errors import Refused, Unavailable
from quell.incident.access import ANYBODY, LOCAL, SHARED, Caller, Role
from quell.web.answers import Overloaded
from quell.web.throttle import Throttle

_log = structlog.get_logger("quell")

SESSION = "quell_session"
REMEMBERED_S = 2.0
"""So much later at most a token that was revoked counts no more."""
REMEMBERED = 1000
LINK_S = 15 * 60.0
LINKS = 32
Client = Collection[object] | None


class Memory:
    """The callers of a moment ago, by the digest of what they showed. Bounded; a stranger is not remembered."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: OrderedDict[str, tuple[Caller, float]] = OrderedDict()

    async def ask(self, shown: str, find: Callable[[], Awaitable[Caller | None]]) -> Caller | None:
        caller, until = self._known.get(shown, (None, 0.0))
        if caller is not None and self._clock() < until:
            return caller
        asked_at = self._clock()  # what is found out may be as old as the question
        self._known.pop(shown, None)
        if (found := await find()) is not None:
            self._known[shown] = (found, asked_at + REMEMBERED_S)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return found

    def forget(self) -> None:
        self._known.clear()

    def __len__(self) -> int:
        return len(self._known)


class Desk:
    """``shared``: the configuration's token. ``access`` is asked for late: the database opens after the server is made.

    Without ``shared`` there is a ``key`` for the commands of whoever runs this server, and links by which a browser
    signs in once.
    """

    def __init__(self, access: Callable[[], Access], *, shared: str | None, insecure: bool) -> None:
        self._access, self._shared, self.insecure = access, shared, insecure
        self.key = "" if insecure or shared is not None else secret()
        self._owner = Caller(local.owner(), Role.ADMIN, proxy=True, token=LOCAL)
        self._links: dict[str, tuple[Caller, float]] = {}
        self._memory = Memory()
        self._throttle = Throttle()

    # Who asks.

    async def who(self, headers: Mapping[str, str], client: Client) -> Caller:
        """Raises ``Refused`` when nobody knows, ``Overloaded`` when somebody guesses, ``Unavailable``."""
        if self.insecure:
            if not is_loopback(client):
                raise Refused("loopback", "with server.insecure only this machine is served")
            return ANYBODY
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and (caller := await self._holder(given.strip(), client)) is not None:
            return caller
        if (cookie := cookie_of(headers, SESSION)) and (caller := await self._signed_in(cookie)) is not None:
            return caller
        raise Refused("token", "a valid token is needed: Authorization: Bearer …")

    async def still(self, headers: Mapping[str, str], client: Client, as_known: Caller) -> bool:
        """Whether it is the same who asks: a stream ends with whatever let it in."""
        try:
            return await self.who(headers, client) == as_known
        except (Refused, Overloaded, Unavailable):
            return False

    async def _holder(self, given: str, client: Client) -> Caller | None:
        if same(given, self.key) and is_loopback(client):
            return self._owner
        address, guess = address_of(client), not well_formed(given)
        if guess:
            self._throttle.check(address)
        if same(given, self._shared or ""):
            return Caller("", Role.ADMIN, proxy=True, token=SHARED)
        if guess:
            self._throttle.failed(address)
            return None
        return await self._memory.ask(digest_of(given), lambda: self._access().holder(given))

    async def _signed_in(self, cookie: str) -> Caller | None:
        digest = self._digest(cookie)
        return await self._memory.ask(digest, lambda: self._access().signed_in(digest))

    def _digest(self, cookie: str) -> str:
        return cookie_digest(cookie, self._shared or "")

    async def within(self, tenant: str, named: Mapping[str, str]) -> None:
        """Raises ``NotFound`` for an incident or an approval of another tenant."""
        await self._access().within(tenant, incident=named.get("incident"), approval=named.get("approval"))

    # Signing in and out.

    def link(self, caller: Caller | None = None) -> str:
        """What an address holds by which a browser signs in, once, as ``caller``; without one as whoever runs this."""
        now = time.monotonic()
        self._links = {known: one for known, one in self._links.items() if one[1] > now}
        while len(self._links) >= LINKS:
            self._links.pop(next(iter(self._links)))
        made = secret()
        self._links[digest_of(made)] = (caller or self._owner, now + LINK_S)
        return made

    async def sign_in(self, given: str, client: Client, *, link: bool = False) -> tuple[str, float]:
        """The cookie of a new session, and how long it lasts in seconds. ``link``: nothing else than a link counts.

        Raises ``Refused``, ``Overloaded``, ``Unavailable``.
        """
        caller = self._linked(given)
        if caller is None and not link:
            caller = await self._holder(given, client)
        if caller is None:
            raise Refused(
                "token", "this link has been used or is too old" if link else "that is no token of this server"
            )
        cookie = secret()
        lasts_s = await self._access().sign_in(self._digest(cookie), caller)
        _log.info("signed_in", name=caller.name, role=caller.role.value, token=caller.token)
        return cookie, lasts_s

    def _linked(self, given: str) -> Caller | None:
        caller, until = self._links.pop(digest_of(given), (None, 0.0))
        return caller if time.monotonic() < until else None

    async def sign_out(self, headers: Mapping[str, str]) -> None:
        """End the session whose cookie this is."""
        if cookie := cookie_of(headers, SESSION):
            await self._access().sign_out(self._digest(cookie))
            self.forget()

    def forget(self) -> None:
        """Whoever asks next is looked up anew."""
        self._memory.forget()


def same(given: str, wanted: str) -> bool:
    """Compared in constant time; nothing is the same as an empty one."""
    return bool(wanted) and hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


def cookie_of(headers: Mapping[str, str], name: str) -> str:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return morsel.value if morsel else ""


def address_of(client: Client) -> str:
    return str(next(iter(client))) if client else ""


def is_loopback(client: Client) -> bool:
    """A client without an address came through a socket file: whoever may open that is let in."""
    return client is None or _is_of_this_machine(address_of(client))


@lru_cache(maxsize=256)
def _is_of_this_machine(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback

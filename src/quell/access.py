"""Who may do what, as use cases: make a token, take it back, find out who shows one. Beside a server or without.

Of a token only the SHA-256 is kept. It is 256 random bits: there is nothing to guess, so a slow hash would guard
nothing and cost every request. Never does: keep or log the text of a token or of a cookie.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from pydantic import ValidationError

from quell.errands import Errands
from quell.errors import Conflict, InvalidInput, NotFound, Problem, Unavailable
from quell.incident.access import LOCAL, SHARED, Caller, Role, Token, caller_of, same_person
from quell.incident.event import EventKind, NewEvent, Stream
from quell.runbook.quantities import spoken
from quell.runbook.vocabulary import nearest
from quell.settings import Settings
from quell.store import events, queries, sessions, tokens
from quell.store.database import Database, normalise_url
from quell.store.migrate import migrate

T = TypeVar("T")
STREAM = "access"
"""The system stream that remembers who was let in and who was not any more."""
_LETTERS = string.digits + string.ascii_letters
_SECRET_LETTERS = 43  # 62 ** 43 > 2 ** 256
_TEXT = re.compile(rf"quell_([0-9a-f]{{8}})_[0-9A-Za-z]{{{_SECRET_LETTERS}}}")
DEFAULT_S, LONGEST_S = 90 * 86_400.0, 366 * 86_400.0
SESSION_S = 12 * 3600.0
USED_EVERY_S = 60.0
"""When a token was used last is known to the minute: no request waits for it to be written."""


def secret() -> str:
    """256 random bits, in letters and digits."""
    return "".join(secrets.choice(_LETTERS) for _ in range(_SECRET_LETTERS))


def well_formed(text: str) -> bool:
    """Whether it is a token of ours by its looks, which nobody can guess."""
    return _TEXT.fullmatch(text) is not None


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def create(
    connection: sa.Connection, house: str, now_us: int, *, name: str, role: Role, by: str, tenant: str | None = None,
    lasts_s: float = DEFAULT_S, proxy: bool = False,
) -> tuple[Token, str]:  # fmt: skip
    """A new token and its text, which is not to be had again. ``house``: the tenant in whose log it stands.

    Raises ``InvalidInput``, and ``Conflict`` when somebody has that name.
    """
    _named(by)
    if not 0 < lasts_s <= LONGEST_S:
        most = f"more than 0 and at most {spoken(LONGEST_S)}"
        raise InvalidInput([Problem("a token ends", "token-length", path="for", found=spoken(lasts_s), expected=most)])
    ident = secrets.token_hex(4)
    text = f"quell_{ident}_{secret()}"
    try:
        made = Token(
            id=ident, name=name, role=role, tenant=tenant or None, proxy=proxy, created_at=events.when(now_us),
            created_by=by, expires_at=events.when(now_us + int(lasts_s * 1_000_000)),
        )  # fmt: skip
    except ValidationError as error:
        raise InvalidInput(_problem(item["msg"], item["loc"]) for item in error.errors(include_url=False)) from None
    tokens.hold(connection)
    others = (one for one in tokens.every(connection) if one.revoked_at is None and same_person(one.name, name))
    if (other := next(others, None)) is not None:
        raise Conflict(f"token {other.id} has the name {other.name!r}; revoke it first", winner=other.id)
    tokens.add(connection, made, digest_of(text))
    payload = {"token": ident, "name": name, "role": role.value, "by": by, "expires_at": made.expires_at.isoformat()}
    payload |= {"tenant": made.tenant} if made.tenant else {}
    _record(connection, house, EventKind.TOKEN_CREATED, payload | ({"proxy": True} if proxy else {}), by)
    return made, text


def _named(by: str) -> None:
    if not by.strip():
        raise InvalidInput([Problem("say who you are: the log keeps who did it", "no-name", expected="a name as by")])


def _problem(message: str, place: tuple[int | str, ...]) -> Problem:
    return Problem(message.removeprefix("Value error, "), "token", path=".".join(map(str, place)))


def revoke(
    connection: sa.Connection, house: str, now_us: int, which: str, *, by: str, reason: str = ""
) -> Token | None:
    """By its id or its name, with every session that it began. ``local``: the sessions that links began; None then.

    Raises ``NotFound``, and ``Conflict`` when it was revoked before.
    """
    _named(by)
    found = None if which == LOCAL else _chosen(tokens.every(connection), which)
    ident = found.id if found else LOCAL
    if found and not tokens.revoke(connection, ident, by, now_us):
        raise Conflict(f"token {ident} was revoked by {found.revoked_by}", winner=found.revoked_by)
    sessions.end_of(connection, ident)
    payload = {"token": ident, "name": found.name if found else LOCAL, "by": by, "reason": reason[:500]}
    _record(connection, house, EventKind.TOKEN_REVOKED, payload, by)
    return found and found.model_copy(update={"revoked_at": events.when(now_us), "revoked_by": by})


def _chosen(known: Iterable[Token], which: str) -> Token:
    """Of several of one name the one that still counts, else the newest."""
    known = list(known)
    found = [one for one in known if one.id == which] or [one for one in known if same_person(one.name, which)]
    if not found:
        raise NotFound("token", which, nearest(which, [one.name for one in known if one.revoked_at is None]))
    return max(found, key=lambda one: (one.revoked_at is None, one.created_at))


def _record(connection: sa.Connection, house: str, kind: EventKind, payload: Mapping[str, object], by: str) -> None:
    events.append(connection, house, Stream.SYSTEM, STREAM, [NewEvent(kind=kind, payload=dict(payload), actor=by)])


# Who asks.


def who_holds(connection: sa.Connection, text: str, now_us: int) -> tuple[Caller, bool] | None:
    """Whose token it is, and whether its last use is to be written down; None when it does not count."""
    if (match := _TEXT.fullmatch(text)) is None or (known := tokens.by_id(connection, match[1])) is None:
        return None
    token, digest = known
    same = hmac.compare_digest(digest_of(text), digest)
    if not same or token.state(events.when(now_us)) != "valid":
        return None
    stale = token.last_used is None or now_us - events.to_us(token.last_used) > USED_EVERY_S * 1_000_000
    return caller_of(token), stale


def cookie_digest(cookie: str, shared: str) -> str:
    """Keyed by the configuration's token, so that changing that one ends every session."""
    return hmac.new(shared.encode(), cookie.encode(), hashlib.sha256).hexdigest()


def begin_session(connection: sa.Connection, digest: str, caller: Caller, now_us: int) -> float:
    """Returns how long it lasts, in seconds: not longer than its token."""
    expires_us = now_us + int(SESSION_S * 1_000_000)
    if (known := tokens.by_id(connection, caller.token)) is not None:
        expires_us = min(expires_us, events.to_us(known[0].expires_at))
    sessions.begin(connection, digest, caller.token, caller.name, now_us, expires_us)
    return (expires_us - now_us) / 1_000_000


def who_signed_in(connection: sa.Connection, digest: str, now_us: int) -> Caller | None:
    """None when the session is over, or its token is."""
    if (session := sessions.on(connection, digest, now_us)) is None:
        return None
    if session.token in (LOCAL, SHARED):
        return Caller(session.name, Role.ADMIN, proxy=True, token=session.token)
    known = tokens.by_id(connection, session.token)
    valid = known is not None and known[0].state(events.when(now_us)) == "valid"
    return caller_of(known[0]) if known and valid else None


def with_state(connection: sa.Connection, now_us: int) -> list[tuple[Token, str]]:
    """Every token, and whether it counts."""
    return [(one, one.state(events.when(now_us))) for one in tokens.every(connection)]


class Access:
    """All of it, for the installation behind a database: a server's own, or ``opened`` beside it."""

    def __init__(self, database: Database, house: str, errands: Errands) -> None:
        self._database, self._house, self._errands = database, house, errands

    async def holder(self, text: str) -> Caller | None:
        """Who holds this token; None when it does not count. Raises ``Unavailable``, as everything here."""
        found = await self._read(lambda c, now: who_holds(c, text, now))
        if found is None:
            return None
        caller, stale = found
        if stale:
            self._errands.start(self._used(caller.token))
        return caller

    async def _used(self, token: str) -> None:
        with contextlib.suppress(Unavailable):
            await self._write(lambda c, now: tokens.used(c, token, now))

    async def signed_in(self, digest: str) -> Caller | None:
        return await self._read(lambda c, now: who_signed_in(c, digest, now))

    async def sign_in(self, digest: str, caller: Caller) -> float:
        """Begin a session; returns how long it lasts, in seconds."""
        return await self._write(lambda c, now: begin_session(c, digest, caller, now))

    async def sign_out(self, digest: str) -> None:
        await self._write(lambda c, _: sessions.end(c, digest))

    async def create(
        self, name: str, role: Role, by: str, *, tenant: str | None = None, lasts_s: float = DEFAULT_S,
        proxy: bool = False,
    ) -> tuple[Token, str]:  # fmt: skip
        """Raises ``InvalidInput``, ``Conflict``."""
        return await self._write(
            lambda c, now: create(
                c, self._house, now, name=name, role=role, by=by, tenant=tenant, lasts_s=lasts_s, proxy=proxy
            )
        )

    async def revoke(self, which: str, by: str, reason: str = "") -> Token | None:
        """Raises ``NotFound``, ``Conflict``."""
        return await self._write(lambda c, now: revoke(c, self._house, now, which, by=by, reason=reason))

    async def every(self) -> list[tuple[Token, str]]:
        return await self._read(with_state)

    async def within(self, tenant: str, *, incident: str | None = None, approval: str | None = None) -> None:
        """Raises ``NotFound`` for what is not this tenant's, as for what is not there."""

        def look(connection: sa.Connection) -> None:
            if incident is not None and queries.incident(connection, incident).tenant != tenant:
                raise NotFound("incident", incident)
            if approval is not None and queries.tenant_of_approval(connection, approval) != tenant:
                raise NotFound("waiting approval", approval)

        await self._database.read(look)

    async def _read(self, work: Callable[[sa.Connection, int], T]) -> T:
        return await self._database.read(lambda c: work(c, self._database.now_us(c)))

    async def _write(self, work: Callable[[sa.Connection, int], T]) -> T:
        return await self._database.write(lambda c: work(c, self._database.now_us(c)))


@contextlib.contextmanager
def opened(settings: Settings, *, begins: bool = False) -> Iterator[Access]:
    """Without a server. ``begins``: a database that is not there yet is made.

    Else raises ``NotFound``: in the wrong folder there would be an empty one.
    """
    url = sa.make_url(normalise_url(settings.database))
    if url.get_backend_name() == "sqlite" and not begins and not Path(url.database or "").exists():
        raise NotFound("database", url.database or "")
    database = Database(settings.database)
    try:
        database.prepare(migrate)
        yield Access(database, settings.tenant, Errands())
    finally:
        database.close()

"""Where tokens are kept: what is known of each, and the digest of its text. Time is the database's.

Never does: see a token's text, judge who may do what.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from quell.incident.access import Role, Token
from quell.store.events import to_us, when
from quell.store.schema import tokens

_TIMES = ("created_at", "expires_at", "last_used", "revoked_at")
_BEFORE_ADDING = sa.text("select pg_advisory_xact_lock(hashtextextended('quell/tokens', 0))")
# Asked for every request whose token nobody has seen lately, hence made once.
_BY_ID = sa.select(tokens).where(tokens.c.id == sa.bindparam("of"))


def hold(connection: sa.Connection) -> None:
    """Until this transaction ends nobody else adds one: two at once must not get the same name."""
    if connection.dialect.name == "postgresql":
        connection.execute(_BEFORE_ADDING)


def add(connection: sa.Connection, token: Token, digest: str) -> None:
    row = token.model_dump() | {"role": token.role.value, "proxy": int(token.proxy), "digest": digest}
    times = {name: to_us(row[name]) for name in _TIMES if row[name] is not None}
    connection.execute(sa.insert(tokens).values(row | times))


def by_id(connection: sa.Connection, token: str) -> tuple[Token, str] | None:
    """With the digest of its text."""
    row = connection.execute(_BY_ID, {"of": token}).mappings().first()
    return (_token(row), row["digest"]) if row else None


def every(connection: sa.Connection) -> list[Token]:
    """The oldest first; those that are over as well."""
    rows = connection.execute(sa.select(tokens).order_by(tokens.c.created_at, tokens.c.id)).mappings()
    return [_token(row) for row in rows]


def revoke(connection: sa.Connection, token: str, by: str, now_us: int) -> bool:
    """False when it was revoked before."""
    mine = sa.update(tokens).where(tokens.c.id == token, tokens.c.revoked_at.is_(None))
    return connection.execute(mine.values(revoked_at=now_us, revoked_by=by)).rowcount == 1


def used(connection: sa.Connection, token: str, now_us: int) -> None:
    """Never backwards, whoever is late."""
    earlier = tokens.c.last_used.is_(None) | (tokens.c.last_used < now_us)
    connection.execute(sa.update(tokens).where(tokens.c.id == token, earlier).values(last_used=now_us))


def _token(row: Mapping[Any, Any]) -> Token:
    """As it was stored: a rule that came later must not lock anybody's log."""
    times = {name: when(row[name]) if row[name] is not None else None for name in _TIMES}
    known = {name: row[name] for name in ("id", "name", "tenant", "created_by", "revoked_by")}
    return Token.model_construct(**known, **times, role=Role(row["role"]), proxy=bool(row["proxy"]))  # type: ignore[arg-type]

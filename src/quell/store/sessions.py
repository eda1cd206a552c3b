"""Where sessions of browsers are kept: the digest of what the cookie holds, and the token that began it.

Never does: see a cookie, judge whether the token still counts.
"""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy as sa

from quell.store.schema import sessions

_BY_DIGEST = sa.select(sessions.c.token, sessions.c.name).where(
    sessions.c.digest == sa.bindparam("of"), sessions.c.expires_at > sa.bindparam("now")
)


class Session(NamedTuple):
    """What began it, and whose it is when that is no token of ours."""

    token: str
    name: str


def begin(connection: sa.Connection, digest: str, token: str, name: str, now_us: int, expires_us: int) -> None:
    """Those that are over are swept away on the way."""
    connection.execute(sa.delete(sessions).where(sessions.c.expires_at <= now_us))
    row = {"digest": digest, "token": token, "name": name, "begun_at": now_us, "expires_at": expires_us}
    connection.execute(sa.insert(sessions).values(row))


def on(connection: sa.Connection, digest: str, now_us: int) -> Session | None:
    row = connection.execute(_BY_DIGEST, {"of": digest, "now": now_us}).first()
    return Session(row.token, row.name) if row else None


def end(connection: sa.Connection, digest: str) -> bool:
    return connection.execute(sa.delete(sessions).where(sessions.c.digest == digest)).rowcount == 1


def end_of(connection: sa.Connection, token: str) -> int:
    """Every session that this began. Returns how many."""
    return connection.execute(sa.delete(sessions).where(sessions.c.token == token)).rowcount

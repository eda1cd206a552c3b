"""One read-only question to PostgreSQL, over the extended protocol.

The extended protocol takes one statement only, so a query cannot leave the read-only transaction it runs in; values
are bound by the server. That is a guard against mistakes: what may be read, and which functions may be called, is for
the role to say (least privilege). Never does: prepare names (poolers lose them), fetch a whole large result.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import Any, cast

import psycopg

from quell.errors import Permanent, QuellError, Transient
from quell.plugins.checks._sql import Asked, Rows, bound, not_opened, words
from quell.ports import Connection

_CONNECT_S = 10
_BY_STATE = {
    "53300": "exhausted", "53400": "exhausted", "28P01": "denied", "28000": "denied", "42501": "denied",
    "57014": "timeout", "55P03": "locked", "40P01": "locked", "3D000": "missing", "42P01": "missing",
    "42703": "missing", "57P03": "busy", "53200": "exhausted", "53100": "exhausted", "25006": "denied",
}  # fmt: skip
_TRANSIENT_CLASSES = frozenset({"exhausted", "timeout", "locked", "busy", "refused", "unreachable", "dns"})
# libpq gives no SQLSTATE for what fails before a session exists: only the server's English words tell it apart.
_BY_WORDS = (
    ("too many clients", "exhausted"), ("too many connections", "exhausted"), ("connection slots", "exhausted"),
    ("no more connections", "exhausted"), ("authentication failed", "denied"), ("no password supplied", "denied"),
    ("no pg_hba.conf entry", "denied"), ("is not permitted to log in", "denied"), ("permission denied", "denied"),
    ("the database system is", "busy"), ("does not exist", "missing"), ("connection refused", "refused"),
    ("timeout expired", "timeout"), ("timed out", "timeout"), ("could not translate host", "dns"),
    ("failed to resolve host", "dns"), ("name or service not known", "dns"), ("ssl", "tls"), ("certificate", "tls"),
)  # fmt: skip


async def ask(connection: Connection, asked: Asked) -> Rows:
    """Raises ``Transient`` or ``Permanent`` by what the server says. Cancelling it cancels the query on the server.

    The columns come with the first row; without a row they are not known.
    """
    query, values = bound(asked.query, asked.params, lambda name, number: f"${number}")
    rows = Rows(asked)
    try:
        session = await psycopg.AsyncConnection.connect(connection.url, **_login(connection, asked.timeout_s))
    except (psycopg.Error, OSError) as error:
        raise _failure(error, connection, opening=True) from None
    try:
        await session.set_read_only(True)
        # A session's setting, not a start-up option: poolers refuse those.
        await session.execute(
            "select set_config('statement_timeout', %s, true)", (str(max(1, int(asked.timeout_s * 1000))),)
        )
        async with psycopg.AsyncRawCursor(session) as cursor:
            stream = cast("AsyncGenerator[Sequence[Any]]", cursor.stream(query, values))
            async with contextlib.aclosing(stream):
                async for row in stream:
                    if not rows.columns:
                        rows.head([column.name for column in cursor.description or ()])
                    if not rows.add(row):
                        break
        return rows
    except (psycopg.Error, OSError) as error:
        raise _failure(error, connection) from None
    finally:
        # Without goodbyes: a goodbye to a server that hangs would hang too.
        await session.close()


def _login(connection: Connection, timeout_s: float) -> dict[str, Any]:
    login: dict[str, Any] = {
        "connect_timeout": max(1, min(_CONNECT_S, int(timeout_s))),
        "application_name": "quell",
        "prepare_threshold": None,
    }
    if connection.username:
        login["user"] = connection.username
    if connection.password:
        login["password"] = connection.password
    return login


def _failure(error: Exception, connection: Connection, *, opening: bool = False) -> QuellError:
    text = words(error, connection.password)
    kind = _BY_STATE.get(getattr(error, "sqlstate", None) or "")
    if kind is None:
        lowered = text.lower()
        kind = next((kind for sign, kind in _BY_WORDS if sign in lowered), None)
    if kind is None and (isinstance(error, psycopg.OperationalError | OSError)):
        kind = "unreachable"
    kind = kind or "invalid"
    message = f"{connection.name}: {not_opened(kind) if opening else text}"
    return Transient(message, kind) if kind in _TRANSIENT_CLASSES else Permanent(message, kind)

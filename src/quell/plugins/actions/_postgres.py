"""Statements on PostgreSQL, with the extended protocol: one statement is one statement.

Being cancelled also cancels the statement on the server. Never does: keep a connection.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.rows import dict_row

from quell.errors import Permanent, Transient
from quell.plugins.actions._answer import APPLICATION, CONNECT_WITHIN_S, Answer, failure, not_opened, while_running
from quell.plugins.actions._sql import POSTGRESQL, Statement, plain
from quell.ports import Connection

_PG_CLASSES = {
    "42501": "denied", "28": "denied", "53300": "exhausted", "53": "exhausted", "57014": "timeout", "55P03": "locked",
    "57P03": "busy", "42": "invalid", "22": "invalid", "3D000": "missing", "08": "unreachable", "57P": "unreachable",
}  # fmt: skip


class PostgreSQL:
    dialect = POSTGRESQL

    def __init__(self, raw: psycopg.AsyncConnection[dict[str, Any]]) -> None:
        self._raw = raw

    @classmethod
    async def open(cls, connection: Connection) -> PostgreSQL:
        given = {"user": connection.username, "password": connection.password}
        options: dict[str, Any] = {key: value for key, value in given.items() if value}
        try:
            raw = await psycopg.AsyncConnection.connect(
                connection.url, autocommit=True, row_factory=dict_row, connect_timeout=CONNECT_WITHIN_S,
                application_name=APPLICATION, cursor_factory=psycopg.AsyncRawCursor, **options,
            )  # fmt: skip
        except psycopg.Error as error:
            raise not_opened(connection.name, _spoken(error)) from None
        return cls(raw)

    async def run(self, statement: Statement, limit: int = 100) -> Answer:
        try:
            cursor = self._raw.cursor()
            # Without values psycopg would take the simple protocol, where one text may be many statements;
            # asking for binary results is what makes it take the extended one (an unnamed statement, as poolers need).
            await cursor.execute(statement.text.encode(), statement.values, binary=not statement.values)
            rows = await cursor.fetchmany(limit) if cursor.description else []
        except psycopg.Error as error:
            raise while_running(_failure("", error)) from None
        return Answer(tuple(rows), cursor.rowcount)

    async def begin(self) -> None:
        await self.run(plain("BEGIN"))

    async def commit(self) -> None:
        await self.run(plain("COMMIT"))

    async def close(self) -> None:
        await self._raw.close()


def _failure(name: str, error: psycopg.Error) -> Transient | Permanent:
    state = error.sqlstate or ""
    words = (error.diag.message_primary or str(error)).strip().splitlines()
    text = words[0] if words else type(error).__name__
    if not state and isinstance(error, psycopg.OperationalError):
        return failure(name, text[:500], _spoken(error))
    sizes = (5, 3, 2)
    found = next((_PG_CLASSES[state[:size]] for size in sizes if state[:size] in _PG_CLASSES), "failed")
    return failure(name, f"{text[:500]} ({state})", found)


def _spoken(error: psycopg.Error) -> str:
    """While connecting, libpq gives the server's refusal as text without a state."""
    if isinstance(error, psycopg.ProgrammingError):
        return "invalid"
    text = str(error)
    for words, error_class in (
        ("too many clients", "exhausted"), ("too many connections", "exhausted"), ("connection slots", "exhausted"),
        ("password authentication failed", "denied"), ("no pg_hba.conf entry", "denied"), ("no password", "denied"),
        ("does not exist", "missing"), ("starting up", "busy"), ("shutting down", "busy"),
        ("translate host name", "dns"), ("resolve host", "dns"), ("timeout expired", "timeout"), ("SSL", "tls"),
    ):  # fmt: skip
        if words in text:
            return error_class
    return "unreachable"

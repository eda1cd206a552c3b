"""Runs statements on PostgreSQL, MySQL/MariaDB and SQLite, one short connection per call.

Being cancelled also cancels the statement on the server. The client library of a kind is loaded for the first
connection of it. Never does: keep a connection, put a password or a whole address into an error.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from quell.errors import Permanent
from quell.plugins.actions._answer import Answer
from quell.plugins.actions._sql import DIALECTS, MYSQL, POSTGRESQL, SQLITE, Statement
from quell.ports import Connection, Probe

_SESSIONS = {POSTGRESQL: ("_postgres", "PostgreSQL"), MYSQL: ("_mysql", "MySQL"), SQLITE: ("_sqlite", "SQLite")}


class Session(Protocol):
    """An open connection in autocommit mode."""

    dialect: str

    async def run(self, statement: Statement, limit: int = 100) -> Answer: ...

    async def begin(self) -> None: ...

    async def commit(self) -> None: ...


def sql_connection(probe: Probe, name: str | None) -> tuple[Connection, str]:
    """The connection and its dialect. Raises ``Permanent`` (missing, invalid)."""
    connection = probe.connection(name, *DIALECTS)
    return connection, DIALECTS[connection.type]


@asynccontextmanager
async def session(connection: Connection) -> AsyncIterator[Session]:
    """Raises ``Transient`` or ``Permanent`` with the server's own words."""
    module, kind = _SESSIONS[DIALECTS[connection.type]]
    loaded = await asyncio.to_thread(importlib.import_module, f"{__package__}.{module}")
    opened = await getattr(loaded, kind).open(connection)
    try:
        yield opened
    finally:
        await opened.close()


def shown_rows(answer: Answer, most: int = 20, width: int = 200) -> list[dict[str, Any]]:
    """Rows for people: few, and each value as JSON can carry it, cut."""
    return [{key: _json(value, width) for key, value in row.items()} for row in answer.rows[:most]]


def _json(value: Any, width: int) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return text if len(text) <= width else text[: width - 1] + "…"


def one(answer: Answer) -> dict[str, Any]:
    """The only row there is. Raises ``Permanent`` (missing)."""
    if not answer.rows:
        raise Permanent("the database answered without a row", "missing")
    return answer.rows[0]


def first_values(rows: Sequence[dict[str, Any]]) -> list[Any]:
    return [next(iter(row.values()), None) for row in rows]

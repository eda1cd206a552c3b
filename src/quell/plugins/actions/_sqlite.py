"""Statements on a SQLite file, in a thread; being cancelled interrupts the statement. Never does: make a file."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import suppress
from urllib.parse import quote, urlsplit

from quell.errors import Permanent, Transient
from quell.plugins.actions._answer import Answer, failure
from quell.plugins.actions._sql import SQLITE, Statement, plain
from quell.ports import Connection


class SQLite:
    dialect = SQLITE

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw

    @classmethod
    async def open(cls, connection: Connection) -> SQLite:
        # As SQLAlchemy spells it: three slashes before a relative path, four before one from /; or just a path.
        url = connection.url
        path = quote(urlsplit(url).path.removeprefix("/") if url.startswith("sqlite:") else url)

        def connect() -> sqlite3.Connection:
            raw = sqlite3.connect(f"file:{path}?mode=rw", uri=True, isolation_level=None, check_same_thread=False)
            raw.row_factory = sqlite3.Row
            return raw

        try:
            return cls(await asyncio.to_thread(connect))
        except sqlite3.Error as error:
            raise _failure(connection.name, error) from None

    async def run(self, statement: Statement, limit: int = 100) -> Answer:
        def work() -> Answer:
            cursor = self._raw.execute(statement.text, statement.values)
            rows = cursor.fetchmany(limit) if cursor.description else []
            return Answer(tuple(dict(row) for row in rows), cursor.rowcount)

        task = asyncio.ensure_future(asyncio.to_thread(work))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._raw.interrupt()
            with suppress(Exception):
                await task
            raise
        except sqlite3.Error as error:
            raise _failure("", error) from None

    async def begin(self) -> None:
        await self.run(plain("BEGIN IMMEDIATE"))

    async def commit(self) -> None:
        await self.run(plain("COMMIT"))

    async def close(self) -> None:
        await asyncio.to_thread(self._raw.close)


def _failure(name: str, error: sqlite3.Error) -> Transient | Permanent:
    code = getattr(error, "sqlite_errorname", "") or ""
    found = {
        "SQLITE_BUSY": "locked",
        "SQLITE_LOCKED": "locked",
        "SQLITE_CANTOPEN": "missing",
        "SQLITE_READONLY": "denied",
    }
    error_class = next((word for start, word in found.items() if code.startswith(start)), "failed")
    return failure(name, f"{error} ({code})", error_class)

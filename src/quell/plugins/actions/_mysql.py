"""Statements on MySQL and MariaDB: PyMySQL in a thread; cancelled, the statement is killed from a second connection.

Never does: keep a connection.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import unquote, urlsplit

import pymysql
from pymysql.cursors import DictCursor

from quell import addresses
from quell.errors import Permanent, Transient
from quell.plugins.actions._answer import CONNECT_WITHIN_S, Answer, failure, not_opened, while_running
from quell.plugins.actions._sql import MYSQL, Statement, plain
from quell.ports import Connection

_MY_CLASSES = {
    1040: "exhausted", 1203: "exhausted", 1226: "exhausted", 1044: "denied", 1045: "denied", 1142: "denied",
    1227: "denied", 1049: "missing", 1146: "missing", 1064: "invalid", 1205: "locked", 1213: "locked",
    2002: "unreachable", 2003: "unreachable", 2006: "unreachable", 2013: "unreachable", 1317: "cancelled",
}  # fmt: skip


class MySQL:
    dialect = MYSQL

    def __init__(
        self, raw: pymysql.Connection[DictCursor], connect: Callable[[], pymysql.Connection[DictCursor]]
    ) -> None:
        self._raw, self._connect = raw, connect

    @classmethod
    async def open(cls, connection: Connection) -> MySQL:
        if addresses.flaw(connection.url):
            raise not_opened(connection.name, "invalid")
        parts = urlsplit(connection.url)

        def connect(*, defer_connect: bool = False) -> pymysql.Connection[DictCursor]:
            return pymysql.connect(
                defer_connect=defer_connect,
                host=parts.hostname or "127.0.0.1",
                port=parts.port or 3306,
                user=connection.username or unquote(parts.username or ""),
                password=connection.password or unquote(parts.password or ""),
                database=parts.path.strip("/") or None,
                autocommit=True,
                connect_timeout=CONNECT_WITHIN_S,
                cursorclass=DictCursor,
                charset="utf8mb4",
            )

        raw = connect(defer_connect=True)
        try:
            await asyncio.to_thread(raw.connect)
        except asyncio.CancelledError:
            _hang_up(raw)
            raise
        except pymysql.Error as error:
            raise not_opened(connection.name, _failure("", error).error_class) from None
        return cls(raw, connect)

    async def run(self, statement: Statement, limit: int = 100) -> Answer:
        def work() -> Answer:
            with self._raw.cursor() as cursor:
                count = cursor.execute(statement.text, statement.values or None)
                rows = cursor.fetchmany(limit) if cursor.description else ()
            return Answer(tuple(dict(row) for row in rows), count)

        task = asyncio.ensure_future(asyncio.to_thread(work))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.shield(asyncio.to_thread(self._kill))
            with suppress(Exception):
                await task
            raise
        except pymysql.Error as error:
            raise while_running(_failure("", error)) from None

    def _kill(self) -> None:
        thread: int = self._raw.thread_id()  # type: ignore[no-untyped-call]
        with suppress(pymysql.Error), self._connect() as second, second.cursor() as cursor:
            cursor.execute("KILL QUERY %s", (thread,))

    async def begin(self) -> None:
        await self.run(plain("START TRANSACTION"))

    async def commit(self) -> None:
        await self.run(plain("COMMIT"))

    async def close(self) -> None:
        with suppress(pymysql.Error):
            await asyncio.to_thread(self._raw.close)


def _hang_up(raw: pymysql.Connection[DictCursor]) -> None:
    """A server that accepts and never greets would hold the thread; without its socket it ends at once."""
    wire = getattr(raw, "_sock", None)
    if wire is not None:
        with suppress(OSError):
            wire.shutdown(socket.SHUT_RDWR)


def _failure(name: str, error: pymysql.Error) -> Transient | Permanent:
    code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    words = str(error.args[1]) if len(error.args) > 1 else type(error).__name__
    return failure(name, f"{words[:500]} ({code})", _MY_CLASSES.get(code, "failed"))

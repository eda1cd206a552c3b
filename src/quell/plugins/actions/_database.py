"""Runs statements on PostgreSQL, MySQL/MariaDB and SQLite, one short connection per call.

PostgreSQL is spoken to with the extended protocol, so one statement is one statement. Being cancelled also cancels
the statement on the server. Never does: keep a connection, put a password or a whole address into an error.
"""

from __future__ import annotations

import asyncio
import socket
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from urllib.parse import quote, unquote, urlsplit

import psycopg
import pymysql
from psycopg.rows import dict_row
from pymysql.cursors import DictCursor

from quell import addresses
from quell.errors import Permanent, Transient
from quell.plugins.actions._sql import DIALECTS, MYSQL, POSTGRESQL, Statement
from quell.ports import Connection, Probe

APPLICATION = "quell"
CONNECT_WITHIN_S = 10
T = TypeVar("T")

_PG_CLASSES = {
    "42501": "denied", "28": "denied", "53300": "exhausted", "53": "exhausted", "57014": "timeout", "55P03": "locked",
    "57P03": "busy", "42": "invalid", "22": "invalid", "3D000": "missing", "08": "unreachable", "57P": "unreachable",
}  # fmt: skip
_MY_CLASSES = {
    1040: "exhausted", 1203: "exhausted", 1226: "exhausted", 1044: "denied", 1045: "denied", 1142: "denied",
    1227: "denied", 1049: "missing", 1146: "missing", 1064: "invalid", 1205: "locked", 1213: "locked",
    2002: "unreachable", 2003: "unreachable", 2006: "unreachable", 2013: "unreachable", 1317: "cancelled",
}  # fmt: skip
_PASSING = frozenset({"exhausted", "unreachable", "busy", "locked", "timeout", "lost"})


@dataclass(frozen=True, slots=True)
class Answer:
    """``rows`` are cut at the limit that was asked; ``count`` is what the server counted, -1 when it did not."""

    rows: tuple[dict[str, Any], ...]
    count: int


class Session(Protocol):
    """An open connection in autocommit mode."""

    dialect: str

    async def run(self, statement: Statement, limit: int = 100) -> Answer: ...

    async def begin(self) -> None: ...

    async def commit(self) -> None: ...


def plain(text: str, *values: Any) -> Statement:
    """A statement of our own, its placeholders already those of the dialect."""
    return Statement(text, values, text, ())


def sql_connection(probe: Probe, name: str | None) -> tuple[Connection, str]:
    """The connection and its dialect. Raises ``Permanent`` (missing, invalid)."""
    connection = probe.connection(name, *DIALECTS)
    return connection, DIALECTS[connection.type]


@asynccontextmanager
async def session(connection: Connection) -> AsyncIterator[Session]:
    """Raises ``Transient`` or ``Permanent`` with the server's own words."""
    opened = await _OPEN[DIALECTS[connection.type]](connection)
    try:
        yield opened
    finally:
        await opened.close()


class _PostgreSQL:
    dialect = POSTGRESQL

    def __init__(self, raw: psycopg.AsyncConnection[dict[str, Any]]) -> None:
        self._raw = raw

    @classmethod
    async def open(cls, connection: Connection) -> _PostgreSQL:
        given = {"user": connection.username, "password": connection.password}
        options: dict[str, Any] = {key: value for key, value in given.items() if value}
        try:
            raw = await psycopg.AsyncConnection.connect(
                connection.url, autocommit=True, row_factory=dict_row, connect_timeout=CONNECT_WITHIN_S,
                application_name=APPLICATION, cursor_factory=psycopg.AsyncRawCursor, **options,
            )  # fmt: skip
        except psycopg.Error as error:
            raise _not_opened(connection.name, _spoken(error)) from None
        return cls(raw)

    async def run(self, statement: Statement, limit: int = 100) -> Answer:
        try:
            cursor = self._raw.cursor()
            # Without values psycopg would take the simple protocol, where one text may be many statements;
            # asking for binary results is what makes it take the extended one (an unnamed statement, as poolers need).
            await cursor.execute(statement.text.encode(), statement.values, binary=not statement.values)
            rows = await cursor.fetchmany(limit) if cursor.description else []
        except psycopg.Error as error:
            raise _while_running(_postgres_failure("", error)) from None
        return Answer(tuple(rows), cursor.rowcount)

    async def begin(self) -> None:
        await self.run(plain("BEGIN"))

    async def commit(self) -> None:
        await self.run(plain("COMMIT"))

    async def close(self) -> None:
        await self._raw.close()


class _MySQL:
    """PyMySQL in a thread; being cancelled, the statement is killed from a second connection."""

    dialect = MYSQL

    def __init__(
        self, raw: pymysql.Connection[DictCursor], connect: Callable[[], pymysql.Connection[DictCursor]]
    ) -> None:
        self._raw, self._connect = raw, connect

    @classmethod
    async def open(cls, connection: Connection) -> _MySQL:
        if addresses.flaw(connection.url):
            raise _not_opened(connection.name, "invalid")
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
            raise _not_opened(connection.name, _mysql_failure("", error).error_class) from None
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
            raise _while_running(_mysql_failure("", error)) from None

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


class _SQLite:
    dialect = "sqlite"

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw

    @classmethod
    async def open(cls, connection: Connection) -> _SQLite:
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
            raise _sqlite_failure(connection.name, error) from None

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
            raise _sqlite_failure("", error) from None

    async def begin(self) -> None:
        await self.run(plain("BEGIN IMMEDIATE"))

    async def commit(self) -> None:
        await self.run(plain("COMMIT"))

    async def close(self) -> None:
        await asyncio.to_thread(self._raw.close)


_OPEN: dict[str, Any] = {"postgresql": _PostgreSQL.open, "mysql": _MySQL.open, "sqlite": _SQLite.open}


def _failure(name: str, words: str, error_class: str) -> Transient | Permanent:
    text = f"{name}: {words}" if name else words
    return Transient(text, error_class) if error_class in _PASSING else Permanent(text, error_class)


_NOT_OPENED = {
    "exhausted": "too many clients: the server has no connection left", "denied": "the login is refused",
    "missing": "the database or the role does not exist", "busy": "the server is starting up or shutting down",
    "dns": "the name of its host cannot be resolved", "timeout": "no answer in time", "tls": "TLS cannot be agreed on",
    "refused": "connection refused", "invalid": "its address cannot be read",
}  # fmt: skip


def _not_opened(name: str, error_class: str) -> Transient | Permanent:
    """In fixed words: those of a library or server may repeat parts of an address, and a password is one of them."""
    return _failure(name, _NOT_OPENED.get(error_class, "cannot connect"), error_class)


def _while_running(failure: Transient | Permanent) -> Transient | Permanent:
    """A connection that breaks under a statement leaves open whether it was carried out."""
    if failure.error_class != "unreachable":
        return failure
    return Transient(f"the connection broke; the statement may have been carried out: {failure}", "lost")


def _postgres_failure(name: str, error: psycopg.Error) -> Transient | Permanent:
    state = error.sqlstate or ""
    words = (error.diag.message_primary or str(error)).strip().splitlines()
    text = words[0] if words else type(error).__name__
    if not state and isinstance(error, psycopg.OperationalError):
        return _failure(name, text[:500], _spoken(error))
    sizes = (5, 3, 2)
    found = next((_PG_CLASSES[state[:size]] for size in sizes if state[:size] in _PG_CLASSES), "failed")
    return _failure(name, f"{text[:500]} ({state})", found)


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


def _mysql_failure(name: str, error: pymysql.Error) -> Transient | Permanent:
    code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    words = str(error.args[1]) if len(error.args) > 1 else type(error).__name__
    return _failure(name, f"{words[:500]} ({code})", _MY_CLASSES.get(code, "failed"))


def _sqlite_failure(name: str, error: sqlite3.Error) -> Transient | Permanent:
    code = getattr(error, "sqlite_errorname", "") or ""
    found = {
        "SQLITE_BUSY": "locked",
        "SQLITE_LOCKED": "locked",
        "SQLITE_CANTOPEN": "missing",
        "SQLITE_READONLY": "denied",
    }
    error_class = next((word for start, word in found.items() if code.startswith(start)), "failed")
    return _failure(name, f"{error} ({code})", error_class)


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

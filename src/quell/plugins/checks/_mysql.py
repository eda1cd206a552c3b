"""One read-only question to MySQL or MariaDB, in a thread that ends when it is no longer waited for.

Never does: fetch a whole large result, leave a query running on the server after it was cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import Any
from urllib.parse import unquote, urlsplit

import pymysql
from pymysql.cursors import SSCursor

from quell import addresses
from quell.errors import Permanent, QuellError, Transient
from quell.plugins.checks import _tls
from quell.plugins.checks._sql import Asked, Rows, bound, not_opened, words
from quell.ports import Connection

_CONNECT_S = 10
_KILL_S = 2
_KILL_SHARE = 0.05
"""Of the time limit; half of what ``database_query`` holds back."""
_PORT = 3306
_BY_CODE = {
    1040: "exhausted", 1203: "exhausted", 1226: "exhausted", 1045: "denied", 1044: "denied", 1142: "denied",
    1143: "denied", 1227: "denied", 1792: "denied", 1130: "denied", 1049: "missing", 1146: "missing", 1054: "missing",
    1205: "locked", 1213: "locked", 1969: "timeout", 3024: "timeout", 1317: "timeout", 2013: "unreachable",
    2006: "unreachable", 1053: "busy",
}  # fmt: skip
_TRANSIENT_CLASSES = frozenset({"exhausted", "timeout", "locked", "busy", "refused", "unreachable", "dns"})


async def ask(connection: Connection, asked: Asked) -> Rows:
    """Raises ``Transient`` or ``Permanent`` by what the server says. Cancelling it kills the query on the server."""
    query, _ = bound(asked.query, asked.params, lambda name, number: f"%({name})s", escape="%")
    work = _Work(connection, asked, query)
    task = asyncio.ensure_future(asyncio.to_thread(work.run))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        work.hang_up()
        ending = asyncio.ensure_future(asyncio.to_thread(work.kill))
        # Within what is held back for it, or "timeout" would come too late to be told: the threads end by themselves.
        await asyncio.wait([task, ending], timeout=min(_KILL_S, asked.timeout_s * _KILL_SHARE))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        raise


class _Work:
    """One session: ``run`` belongs to the thread, ``stop`` to whoever gives up waiting."""

    def __init__(self, connection: Connection, asked: Asked, query: str) -> None:
        self._connection, self._asked, self._query = connection, asked, query
        self._session: pymysql.connections.Connection[SSCursor] | None = None
        self._stopped = threading.Event()

    def run(self) -> Rows:
        if addresses.flaw(self._connection.url):
            raise Permanent(f"{self._connection.name}: {not_opened('invalid')}", "invalid")
        opening = True
        try:
            # Known before it connects, so that a handshake that hangs can be hung up on.
            self._session = pymysql.connect(defer_connect=True, **self._login(self._asked.timeout_s))
            self._session.connect()
            opening = False
            if self._stopped.is_set():
                raise Transient(f"{self._connection.name}: cancelled", "cancelled")
            return self._read(self._session)
        except (pymysql.Error, OSError) as error:
            raise _failure(error, self._connection, opening=opening) from None
        except (ValueError, TypeError) as error:
            text = not_opened("invalid") if opening else words(error, self._connection.password)
            raise Permanent(f"{self._connection.name}: {text}", "invalid") from None
        finally:
            self._close()

    def _read(self, session: pymysql.connections.Connection[SSCursor]) -> Rows:
        rows = Rows(self._asked)
        cursor = SSCursor(session)
        try:
            self._limit_time(session, cursor)
            # Both: the first holds for statements that end a transaction before they run, such as create table.
            cursor.execute("set session transaction read only")
            cursor.execute("start transaction read only")
            cursor.execute(self._query, dict(self._asked.params))
            rows.head([column[0] for column in cursor.description or ()])
            while (row := cursor.fetchone()) is not None and rows.add(row):
                if self._stopped.is_set():
                    break
            return rows
        finally:
            _abandon(cursor)

    def _limit_time(self, session: pymysql.connections.Connection[SSCursor], cursor: SSCursor) -> None:
        """MariaDB counts seconds, MySQL milliseconds, each under a name of its own."""
        limit = max(0.001, self._asked.timeout_s)
        version = str(session.server_version)  # type: ignore[attr-defined]
        if "mariadb" in version.lower():
            cursor.execute("set session max_statement_time = %s", (limit,))
        else:
            cursor.execute("set session max_execution_time = %s", (int(limit * 1000),))

    def _login(self, timeout_s: float) -> dict[str, Any]:
        url = urlsplit(self._connection.url)
        ca = self._connection.options.get("ca")
        secure = {"ssl": _tls.trusting(str(ca))} if ca else {}
        return {
            "host": url.hostname or "127.0.0.1", "port": url.port or _PORT,
            "user": self._connection.username or unquote(url.username or ""),
            "password": self._connection.password or unquote(url.password or ""),
            "database": unquote(url.path.lstrip("/")) or None, "charset": "utf8mb4",
            "connect_timeout": max(1, min(_CONNECT_S, int(timeout_s))),
            "read_timeout": timeout_s + 1, "write_timeout": timeout_s + 1, "program_name": "quell", **secure,
        }  # fmt: skip

    def hang_up(self) -> None:
        """Wake the thread, whatever it waits for."""
        self._stopped.set()
        wire = getattr(self._session, "_sock", None)
        if wire is not None:
            with contextlib.suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)

    def kill(self) -> None:
        """End the session on the server, which would work on for a reader that is gone."""
        number = getattr(self._session, "server_thread_id", None)
        if not number:
            return
        with contextlib.suppress(pymysql.Error, OSError, QuellError):
            killer = pymysql.connect(**{**self._login(_KILL_S), "database": None})
            try:
                killer.cursor().execute("kill %s", (number[0],))
            finally:
                killer.close()

    def _close(self) -> None:
        """Without reading the rest of a large answer, and without a goodbye."""
        if self._session is not None:
            with contextlib.suppress(Exception):
                self._session._force_close()  # type: ignore[attr-defined]


def _abandon(cursor: SSCursor) -> None:
    """Dropped, a cursor and its result would each read the rest of the answer, however large."""
    result = cursor._result  # type: ignore[attr-defined]
    if result is not None:
        result.unbuffered_active = False
    cursor.connection = None  # type: ignore[assignment]


def _failure(error: Exception, connection: Connection, *, opening: bool = False) -> QuellError:
    code = error.args[0] if error.args and isinstance(error.args[0], int) else None
    said = error.args[1] if len(error.args) > 1 else error
    text = words(said if isinstance(said, BaseException) else Exception(said), connection.password)
    kind = _BY_CODE.get(code or 0)
    lowered = text.lower()
    if "refused" in lowered and code in (2003, None):
        kind = "refused"
    elif "timed out" in lowered and kind in (None, "unreachable"):
        kind = "timeout"
    elif code == 2003 and ("name or service" in lowered or "resolution" in lowered):
        kind = "dns"
    elif kind is None:
        kind = "unreachable" if isinstance(error, OSError) or code in (2002, 2003) else "invalid"
    message = f"{connection.name}: {not_opened(kind) if opening else text}"
    return Transient(message, kind) if kind in _TRANSIENT_CLASSES else Permanent(message, kind)

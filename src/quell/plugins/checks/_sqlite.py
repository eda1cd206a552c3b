"""One read-only question to a SQLite file, in a thread that ends when it is no longer waited for.

Never does: create a file, attach another one, wait for a lock longer than it was given.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from pathlib import Path
from urllib.parse import quote, urlsplit

from quell.errors import Permanent, QuellError, Transient
from quell.plugins.checks._sql import Asked, Rows, bound, words
from quell.ports import Connection

_STEPS = 2000
"""Virtual machine instructions between two looks at the clock."""
_LOCK_POLL_S = 0.02
_LONGEST_LOCK_S = 5.0
_LOCK_SHARE = 0.8
"""Of the query's time may be spent waiting for a lock, so that it is still told that it was one."""
_STOP_S = 1.0
_DENIED = frozenset({sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH})


async def ask(connection: Connection, asked: Asked) -> Rows:
    """Raises ``Transient`` (locked, timeout) or ``Permanent``. Cancelling it interrupts the query."""
    work = _Work(connection, asked)
    task = asyncio.ensure_future(asyncio.to_thread(work.run))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        work.stopped.set()
        await asyncio.wait([task], timeout=_STOP_S)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        raise


def path_of(url: str) -> Path:
    """``sqlite:///relative``, ``sqlite:////absolute``, or just a path. Raises ``Permanent`` (invalid)."""
    path = urlsplit(url).path.removeprefix("/") if url.startswith("sqlite:") else url
    if not path:
        raise Permanent("the connection has no path of a database file", "invalid")
    return Path(path)


class _Work:
    """One look into the file; ``stopped`` makes it end at the next look at the clock."""

    def __init__(self, connection: Connection, asked: Asked) -> None:
        self._connection, self._asked = connection, asked
        self.stopped = threading.Event()
        self._deadline = time.monotonic() + asked.timeout_s

    def run(self) -> Rows:
        path = path_of(self._connection.url)
        if not path.is_file():
            raise Permanent(f"{self._connection.name}: no database file", "missing")
        query, values = bound(self._asked.query, self._asked.params, lambda name, number: f"?{number}")
        session = None
        try:
            # autocommit, no waiting inside SQLite: it could not be woken there
            session = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=0, isolation_level=None)
            session.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, max(self._asked.max_bytes * 2, 1_000_000))
            session.execute("pragma query_only = on")
            session.set_authorizer(_allow)
            session.set_progress_handler(self._late, _STEPS)
            return self._read(session, query, values)
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise self._failure(error) from None
        finally:
            if session is not None:
                session.close()

    def _read(self, session: sqlite3.Connection, query: str, values: list[object]) -> Rows:
        waits_until = time.monotonic() + min(self._asked.timeout_s * _LOCK_SHARE, _LONGEST_LOCK_S)
        while True:
            rows = Rows(self._asked)
            try:
                cursor = session.execute(query, values)
                rows.head([column[0] for column in cursor.description or ()])
                while (row := cursor.fetchone()) is not None and rows.add(row):
                    pass
                return rows
            except sqlite3.OperationalError as error:
                if not _is_lock(error) or time.monotonic() >= waits_until or self.stopped.wait(_LOCK_POLL_S):
                    raise

    def _late(self) -> int:
        return int(self.stopped.is_set() or time.monotonic() >= self._deadline)

    def _failure(self, error: Exception) -> QuellError:
        message = f"{self._connection.name}: {words(error, '')}"
        code = getattr(error, "sqlite_errorcode", 0) or 0
        if _is_lock(error):
            return Transient(message, "locked")
        if code & 0xFF == sqlite3.SQLITE_INTERRUPT:
            return Transient(f"{self._connection.name}: the query took too long", "timeout")
        if code & 0xFF in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_PERM):
            return Permanent(message, "denied")
        if code & 0xFF == sqlite3.SQLITE_TOOBIG:
            return Permanent(message, "too_large")
        if code & 0xFF == sqlite3.SQLITE_CANTOPEN:
            return Permanent(message, "denied")
        return Permanent(message, "missing" if "no such" in message else "invalid")


def _allow(action: int, *_: object) -> int:
    return sqlite3.SQLITE_DENY if action in _DENIED else sqlite3.SQLITE_OK


def _is_lock(error: Exception) -> bool:
    return (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)

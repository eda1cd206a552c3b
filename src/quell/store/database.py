"""One database, SQLite or PostgreSQL: the engine, transactions off the event loop, and group commit on SQLite.

``write(work)`` runs ``work(connection)`` in a transaction and returns when it is on disk. On SQLite one thread does all
our writing and commits whatever has arrived together, each piece inside its own savepoint, so that a piece that fails
takes nobody with it; a group of which no piece needs to be on disk at once does not wait for it. A database that cannot
take part for now (a failover, a full disk) is away, for everybody who uses the engine: its connections are replaced,
and what was asked is asked again. Never does: know what is written.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

from quell.errors import Unavailable
from quell.redact import KNOWN

T = TypeVar("T")
Work = Callable[[sa.Connection], T]
Answer = concurrent.futures.Future[Any]

GROUP_LIMIT = 256
"""Pieces of work in one commit."""
WRITE_WAIT_MS = 5_000
PATIENCE = {
    "connect_timeout": 5, "keepalives": 1, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3,
    "tcp_user_timeout": 10_000, "options": "-c statement_timeout=30s -c lock_timeout=10s",
}  # fmt: skip
"""A PostgreSQL that hangs (a failover, a network that drops packets) is away, not slow."""
RESTED_S = 0.5
"""After so long without use, a connection is asked whether it still lives."""
AWAY_STATES = (
    "08",  # the connection
    "25006",  # read-only: after a failover the old address is a standby for a while
    "25P03",  # idle in a transaction for too long
    "40001", "40P01",  # serialization, deadlock: rolled back, and right when asked again
    "53",  # out of connections, memory or disk
    "55P03",  # a lock was not to be had in time
    "57",  # shutting down, starting up, cancelled
    "58",  # input and output
)  # fmt: skip
"""SQLSTATEs, or how they begin, that say nothing about the statement: later it may well do."""
AWAY_CODES = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN})
"""The same for SQLite. Not a lock: whoever meets one tries again on the connection that it has."""
CLOCK = "(extract(epoch from clock_timestamp())*1000000)::bigint"
"""Microseconds since 1970 by PostgreSQL's clock, in its words."""
_ASK_CLOCK = sa.text(f"select {CLOCK}")


def now_us() -> int:
    """Microseconds since 1970, UTC, by this machine's clock."""
    return time.time_ns() // 1000


def normalise_url(url: str) -> str:
    """``postgresql://`` and a plain path are both fine: the driver is ours to choose."""
    if "://" not in url:
        return f"sqlite:///{Path(url).absolute()}"
    scheme, rest = url.split("://", 1)
    if scheme in ("postgres", "postgresql"):
        return f"postgresql+psycopg://{rest}"
    return url


def make_engine(url: str, *, busy_ms: int = 30_000, lagging: bool = False) -> sa.Engine:
    """SQLite: WAL, synchronous=FULL, IMMEDIATE transactions. PostgreSQL: a small pool that pings what has rested.

    ``busy_ms``: how long SQLite waits for somebody else's lock. ``lagging``: a commit may not be on disk yet when it is
    answered; the next one that is takes it along.
    """
    KNOWN.learn_url(url)
    url = normalise_url(url)
    if not url.startswith("sqlite"):
        patience = PATIENCE | {"options": f"{PATIENCE['options']} -c synchronous_commit=off"} if lagging else PATIENCE
        engine = sa.create_engine(
            url, pool_size=10, max_overflow=10, pool_use_lifo=True, pool_timeout=10, connect_args=patience
        )
        _ping_what_rested(engine)
        sa.event.listen(engine, "handle_error", _let_go)
        return engine
    engine = sa.create_engine(url, pool_size=20, max_overflow=20, pool_timeout=30)
    sa.event.listen(engine, "handle_error", _let_go)

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: Any, record: Any) -> None:
        connection.isolation_level = "IMMEDIATE"
        connection.execute(f"PRAGMA busy_timeout={busy_ms}")
        _to_wal(connection, busy_ms)
        connection.execute(f"PRAGMA synchronous={'NORMAL' if lagging else 'FULL'}")
        connection.execute("PRAGMA foreign_keys=ON")

    return engine


def _to_wal(connection: Any, busy_ms: int) -> None:
    """A new file changes to WAL once; whoever asks for it in that moment is refused at once, and not made to wait."""
    deadline = time.monotonic() + busy_ms / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _ping_what_rested(engine: sa.Engine) -> None:
    """A connection that was used a moment ago is used again unasked: there are some forty of them in a run.

    One that breaks in that moment is away, as one that breaks a moment later is.
    """

    @sa.event.listens_for(engine, "checkin")
    def _rests(connection: Any, record: Any) -> None:
        record.info["since"] = time.monotonic()

    @sa.event.listens_for(engine, "checkout")
    def _wakes(connection: Any, record: Any, fairy: Any) -> None:
        now = time.monotonic()
        if now - record.info.pop("since", now) <= RESTED_S:
            return
        try:
            engine.dialect.do_ping(connection)
        except Exception as error:
            raise sa.exc.DisconnectionError(str(error)) from error  # the pool takes another


def _let_go(context: ExceptionContext) -> None:
    """A connection that met such an error counts as lost, as one that broke: whoever shares the engine asks again.

    The durable library asks again only what a broken connection kept from it; of a read-only database it would make
    a run that failed.
    """
    error = context.original_exception
    code = getattr(error, "sqlite_errorcode", None)
    away = code & 0xFF in AWAY_CODES if code is not None else _state_of(error).startswith(AWAY_STATES)
    if away or (context.connection is None and isinstance(context.sqlalchemy_exception, OperationalError)):
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = False


def _state_of(error: BaseException) -> str:
    return getattr(error, "sqlstate", None) or ""


def _is_away(error: BaseException) -> bool:
    if isinstance(error, OperationalError | InterfaceError | sa.exc.TimeoutError):
        return True
    return isinstance(error, DBAPIError) and error.connection_invalidated


def _is_wrong(error: BaseException) -> bool:
    """What SQLite says of a statement that never can be: of the piece that has it, and of no other."""
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", None)
    return code is not None and code & 0xFF == sqlite3.SQLITE_ERROR


def _unavailable(error: Exception) -> Unavailable:
    cause = getattr(error, "orig", None) or error
    said = (str(cause).splitlines() or ["it does not say why"])[0]
    return Unavailable(f"the database does not answer: {type(cause).__name__}: {said[:200]}")


@dataclass(frozen=True, slots=True)
class _Piece:
    work: Work[Any]
    answer: Answer
    lagging: bool


class Database:
    """Give it a URL; ``close`` it."""

    def __init__(self, url: str) -> None:
        self.url = normalise_url(url)
        self.engine = make_engine(url)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self.steps = make_engine(url, lagging=True)
        """For what the durable library keeps of steps. A step whose record a crash of PostgreSQL took, or one of the
        machine under SQLite, runs again, as one that a crash of ours cut off; and whatever we commit takes all that was
        before it to the disk."""
        # A caller that could be told 503 is not kept waiting as long as the engine's own threads are.
        self._writing = make_engine(url, busy_ms=WRITE_WAIT_MS) if self.is_sqlite else self.engine
        self._lagging = make_engine(url, busy_ms=WRITE_WAIT_MS, lagging=True) if self.is_sqlite else self.steps
        self._glancing = make_engine(url, busy_ms=0) if self.is_sqlite else self.engine
        # Each statement of a read sees what is committed by then, in a transaction or not: so there is none to begin.
        self._reading = self.engine if self.is_sqlite else self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._readers = concurrent.futures.ThreadPoolExecutor(8, "quell-read")
        self._queue: queue.SimpleQueue[_Piece | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._lock = threading.Lock()
        self._closed = False

    def prepare(self, work: Callable[[sa.Engine], None]) -> None:
        """What must be done once before anything else. Raises ``Unavailable``."""
        try:
            work(self.engine)
        except SQLAlchemyError as error:
            if not _is_away(error):
                raise
            self.close()
            raise _unavailable(error) from error

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._writer:
                self._queue.put(None)
        if self._writer:
            self._writer.join(10)
        self._readers.shutdown(wait=True)
        for engine in (self._writing, self._lagging, self._glancing):
            engine.dispose()
        self.steps.dispose()
        self.engine.dispose()

    def now_us(self, connection: sa.Connection) -> int:
        """The database's clock; with SQLite that is this machine's."""
        if self.is_sqlite:
            return now_us()
        return int(connection.execute(_ASK_CLOCK).scalar_one())

    async def read(self, work: Work[T]) -> T:
        """Raises ``Unavailable`` when the database is away."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self.read_now, work)

    async def glance(self, work: Work[T]) -> T:
        """As ``read``, of what is found by its key: on SQLite at once, since a thread costs more than looking."""
        if self.is_sqlite:
            # Where it is busy, or away, whoever has a thread of their own has the patience.
            refused = OperationalError, sqlite3.OperationalError
            with contextlib.suppress(*refused), self._glancing.connect() as connection:
                return work(connection)
        return await self.read(work)

    async def write(self, work: Work[T]) -> T:
        """Returns when ``work`` is committed. Raises what ``work`` raised, or ``Unavailable``."""
        if self.is_sqlite:
            return await asyncio.wrap_future(self._enqueue(work))
        return await asyncio.get_running_loop().run_in_executor(self._readers, self.write_now, work)

    def keep(self, work: Work[T], *, lagging: bool) -> concurrent.futures.Future[T]:
        """As ``write``, on SQLite. ``lagging``: it may not be on disk yet when it is answered, as with ``steps``."""
        return self._enqueue(work, lagging=lagging)

    def read_now(self, work: Work[T]) -> T:
        """What is only read is asked again: of a connection that broke since it was used last, nobody need hear."""
        try:
            with self._reading.connect() as connection:
                try:
                    return work(connection)
                except DBAPIError as error:
                    if not error.connection_invalidated:
                        raise
            with self._reading.connect() as connection:
                return work(connection)
        except SQLAlchemyError as error:
            if not _is_away(error):
                raise
            raise _unavailable(error) from error

    def write_now(self, work: Work[T]) -> T:
        """For callers in a thread of their own."""
        if self.is_sqlite:
            return self._enqueue(work).result()
        try:
            with self.engine.begin() as connection:
                return work(connection)
        except SQLAlchemyError as error:
            if not _is_away(error):
                raise
            raise _unavailable(error) from error

    def _enqueue(self, work: Work[T], *, lagging: bool = False) -> concurrent.futures.Future[T]:
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        with self._lock:  # nobody is put behind the end, where no answer would come
            if self._closed:
                raise Unavailable("the database is closed")
            if self._writer is None:
                self._writer = threading.Thread(target=self._write_all, name="quell-write", daemon=True)
                self._writer.start()
            self._queue.put(_Piece(work, future, lagging))
        return future

    def _write_all(self) -> None:
        while True:
            first = self._queue.get()
            if first is None:
                return
            group, stop = [first], False
            while len(group) < GROUP_LIMIT:
                try:
                    item = self._queue.get_nowait()
                except queue.Empty:
                    break
                if item is None:
                    stop = True
                    break
                group.append(item)
            self._commit(group)
            if stop:
                return

    def _commit(self, asked: Sequence[_Piece]) -> None:
        # A caller that has gone must not take the thread with it when its answer cannot be delivered.
        group = [piece for piece in asked if piece.answer.set_running_or_notify_cancel()]
        done: list[tuple[Answer, Any]] = []
        refused: list[tuple[Answer, BaseException]] = []
        alone = len(group) == 1  # one that fails takes nobody with it
        engine = self._lagging if all(piece.lagging for piece in group) else self._writing
        try:
            with engine.begin() as connection:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                for piece in group:
                    if alone:
                        done.append((piece.answer, piece.work(connection)))
                        break
                    connection.exec_driver_sql("SAVEPOINT piece")
                    try:
                        done.append((piece.answer, piece.work(connection)))
                    except BaseException as error:
                        if _is_away(error) and not _is_wrong(error):
                            raise
                        connection.exec_driver_sql("ROLLBACK TO piece")
                        refused.append((piece.answer, error))
                    connection.exec_driver_sql("RELEASE piece")
        except BaseException as error:
            for piece in group:
                if not piece.answer.done():
                    piece.answer.set_exception(_told(error, alone=alone))
            return
        # Now that it is committed: what one was refused for may have been another's piece.
        for answer, result in done:
            answer.set_result(result)
        for answer, refusal in refused:
            answer.set_exception(refusal)


def _told(error: BaseException, *, alone: bool) -> BaseException:
    """A piece hears of its own failure as it is, and of the database's, or of another's, as one who can come again."""
    if not isinstance(error, DBAPIError | sa.exc.TimeoutError) or (alone and (not _is_away(error) or _is_wrong(error))):
        return error
    return _unavailable(error)

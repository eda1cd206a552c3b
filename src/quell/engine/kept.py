"""What the durable library keeps, on SQLite: by the thread that does all our writing, with whatever else it writes.

SQLite has one writer at a time. A hundred runs that each kept their steps in transactions of their own waited for one
another, for longer than they worked. Never does: keep anything that the library would not.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any

import sqlalchemy as sa

from quell.engine.prepared import Record, prepare
from quell.errors import Unavailable

Keep = Callable[[Callable[[sa.Connection], Any]], "Future[Any]"]
"""Does work in a transaction; done when that is committed."""
_OFTEN = ("record_operation_result", "update_workflow_outcome", "init_child_workflow")
"""Each of them one transaction of the library's, several in every run."""


class Kept:
    """``stand_before`` the durable library's writing."""

    def __init__(self, keep: Keep) -> None:
        self._keep = keep

    def stand_before(self, library: Any) -> None:
        self._record = Record(library)
        prepare(library)
        library.engine = self._lent = Lent(library.engine)
        self._own = {name: getattr(library, name) for name in _OFTEN}
        for name, own in self._own.items():
            setattr(library, name, partial(self._write, own))

    async def record(self, result: Mapping[str, Any]) -> None:
        """What a step has answered, as ``record_operation_result``, without a thread that waits for it."""
        try:
            await asyncio.wrap_future(self._keep(self._record.of(result)))
        except Unavailable:
            await asyncio.to_thread(self._own["record_operation_result"], result)

    def _write(self, own: Callable[..., Any], *given: Any, **more: Any) -> Any:
        try:
            return self._keep(self._work(own, *given, **more)).result()
        except Unavailable:  # the library has the patience for a database that is away
            return own(*given, **more)

    def _work(self, own: Callable[..., Any], *given: Any, **more: Any) -> Callable[[sa.Connection], Any]:
        """In the context of whoever asks: that says whose step it is, and under which claim."""
        context = contextvars.copy_context()

        def work(connection: sa.Connection) -> Any:
            with self._lent.to(connection):
                return context.run(own, *given, **more)

        return work


class Lent:
    """The library's engine; for whoever has been lent a connection, a transaction is that connection's."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine, self._mine = engine, threading.local()
        # The library's tables have a schema that only its own engine knows how to read.
        self._where = {"schema_translate_map": engine.get_execution_options()["schema_translate_map"]}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    @contextlib.contextmanager
    def to(self, connection: sa.Connection) -> Iterator[None]:
        self._mine.connection = _Reading(connection, self._where)
        try:
            yield
        finally:
            del self._mine.connection

    def begin(self) -> contextlib.AbstractContextManager[Any]:
        mine = getattr(self._mine, "connection", None)
        return self._engine.begin() if mine is None else contextlib.nullcontext(mine)


class _Reading:
    """A connection that reads the library's tables as its own engine does."""

    def __init__(self, connection: sa.Connection, where: Mapping[str, Any]) -> None:
        self._connection, self._where = connection, where

    @property
    def dialect(self) -> sa.Dialect:
        return self._connection.dialect

    def exec_driver_sql(self, text: str, given: Any) -> Any:
        return self._connection.exec_driver_sql(text, given)

    def execute(self, statement: Any, *given: Any) -> Any:
        return self._connection.execute(statement, *given, execution_options=self._where)

"""What the durable library keeps, on SQLite: by the thread that does all our writing, with whatever else it writes.

SQLite has one writer at a time. A hundred runs that each kept their steps in transactions of their own waited for one
another, for longer than they worked. Never does: keep anything that the library would not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, Protocol

import sqlalchemy as sa

from quell.engine.patience import LONGEST_PAUSE_S, Pauses
from quell.engine.prepared import prepare
from quell.engine.step import Ending
from quell.engine.writes import Write, Writes
from quell.errors import Unavailable


class Keep(Protocol):
    """Does work in a transaction; done when that is committed. ``lagging``: it may not be on disk yet then."""

    def __call__(self, work: Callable[[sa.Connection], Any], *, lagging: bool) -> Future[Any]: ...


_log = logging.getLogger("quell")
_AWAY = "what a run has done is kept when the database is back: %s"
_OFTEN = ("record_operation_result", "record_get_result", "update_workflow_outcome", "init_child_workflow")
"""Each of them a transaction of the library's in every run."""


class Kept:
    """``stand_before`` the durable library's writing. ``pauses``: what it waits by."""

    def __init__(self, keep: Keep, pauses: Pauses) -> None:
        self._keep, self._pauses = keep, pauses

    def stand_before(self, library: Any) -> None:
        prepare(library)
        self._writes = Writes(library)
        for name in _OFTEN:
            setattr(library, name, partial(self._written, getattr(self._writes, name)))

    async def record(self, result: Mapping[str, Any], endings: Sequence[Ending]) -> None:
        """What a step has answered, and what it ends with, without a thread that waits for it."""
        answer = self._writes.record_operation_result(result)

        def write(connection: sa.Connection) -> list[Any]:
            told = [ending.write(connection) for ending in endings]
            answer(connection)
            return told

        for pause in self._patience():
            try:
                told = await asyncio.wrap_future(self._keep(write, lagging=not endings))
                for ending, one in zip(endings, told, strict=True):
                    ending.told(one)
                return
            except Unavailable as error:
                _log.warning(_AWAY, error)
                await asyncio.sleep(pause)

    def _written(self, asked: Callable[..., Write | None], *given: Any, **more: Any) -> Any:
        """From a thread of the library's."""
        write = asked(*given, **more)
        if write is None:
            return None
        for pause in self._patience():
            try:
                return self._keep(write, lagging=True).result()
            except Unavailable as error:
                _log.warning(_AWAY, error)
                self._pauses.sleep(pause)
        raise AssertionError("patience has no end")

    def _patience(self) -> Iterator[float]:
        """For as long as the database is away, as the library: an outage must not end a run. Not beyond our own end."""
        pause = 0.25
        while not self._pauses.over.is_set():
            yield pause
            pause = min(pause * 2, LONGEST_PAUSE_S)
        raise asyncio.CancelledError

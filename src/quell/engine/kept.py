"""What the durable library keeps, on SQLite: by the thread that does all our writing, with whatever else it writes.

SQLite has one writer at a time. A hundred runs that each kept their steps in transactions of their own waited for one
another, for longer than they worked. Never does: keep anything that the library would not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any

import sqlalchemy as sa

from quell.engine.patience import LONGEST_PAUSE_S, Pauses
from quell.engine.prepared import prepare
from quell.engine.writes import Write, Writes
from quell.errors import Unavailable

Keep = Callable[[Callable[[sa.Connection], Any]], "Future[Any]"]
"""Does work in a transaction; done when that is committed."""
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

    async def record(self, result: Mapping[str, Any]) -> None:
        """What a step has answered, without a thread that waits for it."""
        write = self._writes.record_operation_result(result)
        for pause in self._patience():
            try:
                await asyncio.wrap_future(self._keep(write))
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
                return self._keep(write).result()
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

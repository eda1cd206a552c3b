"""Before the queue of runs: whoever claims some for this process gets no more than there are places.

It stands before the durable library's own claim, which its polling thread asks as well as we do. Never does: claim.
"""

from __future__ import annotations

import asyncio
import copy
import threading
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

from quell.engine.places import Places


class Turnstile:
    """Of one process. Open until ``close``."""

    def __init__(self, places: Places, queue: str) -> None:
        self.places = places
        self._queue = queue
        self.is_open = True
        self._claiming = threading.Lock()
        self._taking: asyncio.Task[None] | None = None

    def stand_before(self, library: Any, take_more: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """``take_more``: claims again. Called in the event loop, as soon as a place is free that was wanted."""
        claim, loop = library.start_queued_workflows, asyncio.get_running_loop()

        def claimed(queue: Any, *given: Any, **more: Any) -> Any:
            if queue.name != self._queue:
                return claim(queue, *given, **more)
            with self._claiming:
                return self._claimed(claim, queue, *given, **more)

        library.start_queued_workflows = claimed
        self.places.on_free = lambda: self._again(loop, take_more)

    def _claimed(
        self, claim: Any, queue: Any, executor: str, version: str, partition: str | None, *_: int, **more: Any
    ) -> tuple[list[str], str | None]:
        free = self.places.free if self.is_open else 0
        if not free:
            self.places.want()
            return [], "worker_concurrency"
        bounded = copy.copy(queue)
        bounded._worker_concurrency = free
        found, why = claim(bounded, executor, version, partition, 0, 0, **more)
        self.places.promise(found)
        if len(found) == free:
            self.places.want()
        return found, why

    def _again(self, loop: asyncio.AbstractEventLoop, take_more: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """In a context of its own: it is no step of the run that has just left its place."""
        if self.is_open and (self._taking is None or self._taking.done()):
            self._taking = loop.create_task(take_more(), context=Context())

    def admits(self, workflow_id: str) -> bool:
        """In the transaction that starts it, so nobody is waited for: two may take the last place, without harm."""
        if not self.is_open:
            return False
        if not self.places.free:
            self.places.want()
            return False
        self.places.promise([workflow_id])
        return True

    def close(self) -> None:
        """Nothing more is claimed here; what runs goes on."""
        self.is_open = False
        if self._taking is not None:
            self._taking.cancel()

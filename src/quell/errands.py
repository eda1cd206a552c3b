"""What a process does and nobody waits for. Never does: know what it is, or end because it failed."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog

_log = structlog.get_logger("quell")


class Errands:
    """Tasks that nobody waits for; what goes wrong in one is at least said."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        # In a context of its own: what a workflow asks for on the way is no step of that workflow.
        task = asyncio.get_running_loop().create_task(work, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("background_failed", error=f"{type(error).__name__}: {error}")

    async def stop(self) -> None:
        """Cancel whatever still runs, and wait until it has ended."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class Kick:
    """Starts what was enqueued at once, however many ask in the same moment."""

    def __init__(self, errands: Errands, kick: Callable[[], Awaitable[None]]) -> None:
        self._errands, self._kick = errands, kick
        self._asked = False

    def __call__(self) -> None:
        if not self._asked:
            self._asked = True
            self._errands.start(self._soon())

    async def _soon(self) -> None:
        await asyncio.sleep(0)
        self._asked = False
        await self._kick()


async def again(
    look: Callable[[], Awaitable[None]], every_s: float, failed: str, *, first_s: float | None = None,
    sooner: asyncio.Event | None = None,
) -> None:  # fmt: skip
    """Look, again and again, by default not before ``every_s``, or as soon as ``sooner`` is set; ``failed`` is logged
    when that cannot be done."""
    wait_s = every_s if first_s is None else first_s
    while True:
        await _rest(wait_s, sooner)
        wait_s = every_s
        try:
            await look()
        except Exception as error:  # as above
            _log.error(failed, error=str(error))


async def _rest(most_s: float, sooner: asyncio.Event | None) -> None:
    """Not by ``asyncio.wait_for``: before Python 3.12 that may take a cancellation for the end of the wait."""
    if sooner is None:
        await asyncio.sleep(most_s)
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(most_s):
            await sooner.wait()

"""Work that mostly need not wait: it is begun at once, and only what has to wait gets a timer.

A timer costs as much as reading a webhook's body does, and that body has nearly always come with its headers. Python
3.12 has eager tasks for this. Never does: make a task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")


async def within(work: Coroutine[Any, Any, T], seconds: float) -> T:
    """Raises ``TimeoutError`` when it does not end in time, and whatever it raises."""
    try:
        waits_for = work.send(None)
    except StopIteration as end:
        found: T = end.value
        return found
    async with asyncio.timeout(seconds):
        rest: T = await _Rest(work, waits_for)
        return rest


class _Rest:
    """What remains of work that was begun: hands on what it waits for, and to it what comes of that (PEP 380)."""

    def __init__(self, work: Coroutine[Any, Any, Any], waits_for: Any) -> None:
        self._work, self._waits_for = work, waits_for

    def __await__(self) -> Generator[Any, Any, Any]:
        waits_for = self._waits_for
        try:
            while True:
                try:
                    sent = yield waits_for
                except GeneratorExit:
                    self._work.close()
                    raise
                except BaseException as error:
                    waits_for = self._work.throw(error)
                else:
                    waits_for = self._work.send(sent)
        except StopIteration as end:
            return end.value

"""Blocking work in a thread that may be left behind.

A read of a dead network mount never returns, and no program can be made to wait for it: the thread is a daemon, and
the work is told to stop by an event that it looks at between its own steps.
Never does: keep the interpreter from ending.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Stopped(Exception):
    """The check was cancelled while the work ran."""


class Pace:
    """What the work calls between its steps. ``check`` raises ``Stopped`` once nobody waits any more."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def stop(self) -> None:
        self._event.set()

    def check(self) -> None:
        if self._event.is_set():
            raise Stopped

    def sleep(self, seconds: float) -> None:
        """Wait, or raise ``Stopped`` as soon as nobody waits any more."""
        if self._event.wait(seconds):
            raise Stopped


async def in_thread(work: Callable[[Pace], T], name: str) -> T:
    """What ``work`` gives or raises. Cancelling returns at once and tells the work to stop."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    pace = Pace()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # None only where T allows it

    def run() -> None:
        result, error = None, None
        try:
            result = work(pace)
        except BaseException as raised:
            error = raised
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name=f"quell-{name}", daemon=True).start()
    try:
        return await future
    finally:
        pace.stop()

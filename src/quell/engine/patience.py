"""A database that is away comes back: steps wait for it, and the library waits no longer than we would.

Never does: give up while the process lives, or hold up its end.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from quell.errors import Unavailable

T = TypeVar("T")
LONGEST_PAUSE_S = 5.0


async def patiently(work: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
    """The work of a step, again for as long as the database is away: an outage must not end a run.

    Safe because what a step writes is keyed: told again, it is told once.
    """
    pause = 0.25
    while True:
        try:
            return await work(*args)
        except Unavailable as error:
            logging.getLogger("quell").warning("a step waits for the database: %s", error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)


def is_outage(error: Exception) -> bool:
    """Whether the database could not take part, whatever it was asked."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return isinstance(error, OperationalError | InterfaceError | sa.exc.TimeoutError)


class Pauses:
    """``time`` as the library's database module sees it: between two tries it waits no longer than we would, and not at
    all once we end. On its own it waits up to a minute and a half, and a process waits for its threads.
    """

    def __init__(self) -> None:
        self.over = threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def sleep(self, seconds: float) -> None:
        if not self.over.wait(min(seconds, LONGEST_PAUSE_S)):
            return
        if threading.current_thread().name.startswith("dbos-executor"):
            # Of the pool that Python waits for. No ``Exception``, which would be kept as the workflow's outcome.
            raise asyncio.CancelledError
        time.sleep(0.1)  # the others look by themselves whether it is over

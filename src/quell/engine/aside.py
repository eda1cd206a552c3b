"""Blocking work that may never come back, such as letting go of a database that hangs: beside the loop, for a while.

The thread is a daemon: left behind, it keeps no process alive. Never does: stop the work.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable


async def aside(work: Callable[[], object], within_s: float) -> bool:
    """Run ``work`` in a thread of its own. False: it goes on without us. Raises what it raised."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def tell(error: BaseException | None) -> None:
        if ended.done():
            return
        if error is None:
            ended.set_result(None)
        else:
            ended.set_exception(error)

    def run() -> None:
        error: BaseException | None = None
        try:
            work()
        except BaseException as raised:
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
            loop.call_soon_threadsafe(tell, error)

    threading.Thread(target=run, name="quell-aside", daemon=True).start()
    try:
        await asyncio.wait_for(ended, within_s)
    except TimeoutError:
        return False
    return True

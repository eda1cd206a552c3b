"""What a process does beside answering: keeps its lease, takes over from the dead, watches thresholds, runs errands.

Never does: end because one of these failed; what goes wrong is said, and tried again.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

import sqlalchemy as sa
import structlog

from quell.engine import liveness
from quell.intake.thresholds import Thresholds
from quell.respond import approve
from quell.respond.means import Means
from quell.runbook.plan import Plan

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


async def stay_alive(means: Means, executor: str, lease_us: int) -> None:
    """Keep our lease; recover the work of whoever lost theirs, and what was lost here; tell answers that a crash kept
    from being told."""
    while True:
        try:
            for dead in await means.database.write(lambda c: _beat(means, c, executor, lease_us)):
                await _take_over(means, dead)
            if lost := await means.durable.pick_up():
                _log.warning("work_picked_up", workflows=lost)
            await approve.tell_untold(means)
        except Exception as error:  # a database that is away comes back
            _log.error("heartbeat_failed", error=str(error))
        await asyncio.sleep(lease_us / 3_000_000)


def _beat(means: Means, connection: sa.Connection, executor: str, lease_us: int) -> list[str]:
    clock = means.database.now_us(connection)
    if not liveness.beat(connection, executor, clock, lease_us):
        _log.error("lease_lost", executor=executor)
        liveness.enter_again(connection, executor, clock, lease_us)
    liveness.end_gone(connection, clock)
    return liveness.dead(connection, clock)


async def _take_over(means: Means, dead: str) -> None:
    """Its work goes back into the queue; done twice it does no harm, failed it is tried at the next beat."""
    try:
        found = await asyncio.to_thread(means.durable.recover, dead)
        await means.database.write(lambda c: liveness.bury(c, dead, means.database.now_us(c)))
        if found:
            await means.durable.kick_recovered()
            _log.warning("executor_lost", executor=dead, recovered=found)
    except Exception as error:  # the others must not wait for this one
        _log.error("take_over_failed", executor=dead, error=str(error))


async def again(
    look: Callable[[], Awaitable[None]], every_s: float, failed: str, *, first_s: float | None = None
) -> None:
    """Look, again and again, by default not before ``every_s``; ``failed`` is logged when that cannot be done."""
    wait_s = every_s if first_s is None else first_s
    while True:
        await asyncio.sleep(wait_s)
        wait_s = every_s
        try:
            await look()
        except Exception as error:  # as above
            _log.error(failed, error=str(error))


async def watch(thresholds: Thresholds, plans: Callable[[], Iterable[Plan]], every_s: float) -> None:
    """Ask the metrics that runbooks watch themselves."""
    while True:
        try:
            await thresholds.look(list(plans()))
        except Exception as error:  # as above
            _log.error("thresholds_failed", error=str(error))
        await asyncio.sleep(max(0.2, every_s))

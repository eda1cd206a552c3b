"""What a process does beside answering: keeps its lease, takes over from the dead, watches thresholds.

Never does: end because one of these failed; what goes wrong is said, and tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import sqlalchemy as sa
import structlog

from quell.engine import liveness
from quell.intake.thresholds import Thresholds
from quell.respond import approve
from quell.respond.means import Means
from quell.runbook.plan import Plan

_log = structlog.get_logger("quell")
JUST_AFTER_US = 20_000
"""A lease that has just run out is one whose end lies behind us."""


async def stay_alive(means: Means, executor: str, lease_us: int) -> None:
    """Keep our lease; recover the work of whoever lost theirs, and what was lost here; tell answers that a crash kept
    from being told. The next look is after a third of the lease, or when the lease of somebody silent runs out."""
    while True:
        pause_us = lease_us / 3
        try:
            dead, next_end_us = await means.database.write(lambda c: _beat(means, c, executor, lease_us))
            for one in dead:
                await _take_over(means, one)
            if next_end_us is not None:
                pause_us = min(pause_us, next_end_us + JUST_AFTER_US)
            if lost := await means.durable.pick_up():
                _log.warning("work_picked_up", workflows=lost)
            await approve.tell_untold(means)
        except Exception as error:  # a database that is away comes back
            _log.error("heartbeat_failed", error=str(error))
        await asyncio.sleep(pause_us / 1_000_000)


def _beat(
    means: Means, connection: sa.Connection, executor: str, lease_us: int
) -> tuple[list[str], int | None]:  # fmt: skip
    """Who is dead, and in how long the next one would be."""
    clock = means.database.now_us(connection)
    if not liveness.beat(connection, executor, clock, lease_us):
        _log.error("lease_lost", executor=executor)
        liveness.enter_again(connection, executor, clock, lease_us)
    liveness.end_gone(connection, clock)
    return liveness.dead(connection, clock), liveness.next_end_us(connection, clock)


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


async def watch(thresholds: Thresholds, plans: Callable[[], Iterable[Plan]], every_s: float) -> None:
    """Ask the metrics that runbooks watch themselves."""
    while True:
        try:
            await thresholds.look(list(plans()))
        except Exception as error:  # as above
            _log.error("thresholds_failed", error=str(error))
        await asyncio.sleep(max(0.2, every_s))

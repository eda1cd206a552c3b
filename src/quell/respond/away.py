"""A run that a limit counts, while it waits for somebody or for a time: it takes nobody's place. Inside a workflow.

Never does: wait, say whose turn it is.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable

import sqlalchemy as sa

from quell.respond.means import Context, Means
from quell.store import turns


@contextlib.asynccontextmanager
async def away(means: Means, context: Context) -> AsyncIterator[None]:
    """Around a wait. Both ends are kept as steps: a replay, which waits for nothing, changes nothing. What is cut off
    in between is away still, and comes back when it goes on."""
    if not context.limited:
        yield
        return
    await means.durable.step("away", _changed, means, context, turns.leave)
    yield
    await means.durable.step("back", _changed, means, context, turns.come_back)


async def _changed(
    means: Means, context: Context, change: Callable[[sa.Connection, str, int, int], None]
) -> None:  # fmt: skip
    def work(connection: sa.Connection) -> None:
        change(connection, context.incident, context.run, means.database.now_us(connection))

    await means.database.write(work)
    means.turn_free.set()

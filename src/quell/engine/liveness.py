"""Who is alive: every process keeps a lease in ``executors``; the work of one whose lease ran out is taken over.

One that ran on this machine and is gone for sure need not be waited for: after a crash the next one begins at once.
Recovery never runs anything: it only puts work back in the queue, so every start goes through one atomic claim.
Never does: decide what the work is.
"""

from __future__ import annotations

import os
import socket
from uuid import uuid4

import sqlalchemy as sa

from quell.engine import process
from quell.engine.tables import executors
from quell.engine.workers import Kind

FORGOTTEN_AFTER_US = 30 * 24 * 3600 * 1_000_000


def new_executor_id() -> str:
    """Unique per process, readable for people: host, pid, and eight random digits."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}"


def enter(
    connection: sa.Connection, executor_id: str, version: str, now_us: int, lease_us: int, *,
    kind: Kind = Kind.SERVER, configuration: str = "",
) -> None:  # fmt: skip
    connection.execute(
        sa.insert(executors).values(
            id=executor_id, host=socket.gethostname(), pid=os.getpid(), machine=process.machine(),
            born=process.born(os.getpid()) or "", version=version, started_at=now_us, lease_until=now_us + lease_us,
            kind=kind.value, configuration=configuration,
        )
    )  # fmt: skip
    connection.execute(sa.delete(executors).where(executors.c.ended_at < now_us - FORGOTTEN_AFTER_US))


def beat(connection: sa.Connection, executor_id: str, now_us: int, lease_us: int) -> bool:
    """Prolong the lease. False: somebody has declared us dead meanwhile; stop acting and enter again."""
    kept = connection.execute(
        sa.update(executors)
        .where(executors.c.id == executor_id, executors.c.ended_at.is_(None))
        .values(lease_until=now_us + lease_us)
    )
    return kept.rowcount == 1


def enter_again(connection: sa.Connection, executor_id: str, now_us: int, lease_us: int) -> None:
    """After having been declared dead: alive, so that whoever outlives us finds our work again."""
    connection.execute(
        sa.update(executors).where(executors.c.id == executor_id).values(ended_at=None, lease_until=now_us + lease_us)
    )


def leave(connection: sa.Connection, executor_id: str, now_us: int) -> None:
    """A clean goodbye: the lease ends now, so that others need not wait for it."""
    connection.execute(sa.update(executors).where(executors.c.id == executor_id).values(lease_until=now_us))


def end_gone(connection: sa.Connection, now_us: int, here: str | None = None) -> list[str]:
    """End the leases of those whose process on this machine has ended without a goodbye; it cannot come back.

    ``here``: what this machine is called, by default what it calls itself. One without a name ends nobody's.
    """
    here = process.machine() if here is None else here
    if not here:
        return []
    found = connection.execute(
        sa.select(executors.c.id, executors.c.pid, executors.c.born)
        .where(executors.c.ended_at.is_(None), executors.c.lease_until >= now_us)
        .where(executors.c.host == socket.gethostname(), executors.c.machine == here)
    )
    gone = [row.id for row in found if process.is_gone(row.pid, row.born)]
    if gone:
        connection.execute(sa.update(executors).where(executors.c.id.in_(gone)).values(lease_until=now_us - 1))
    return gone


def dead(connection: sa.Connection, now_us: int) -> list[str]:
    """Executors whose lease ran out and whose work nobody has taken over yet."""
    found = connection.execute(
        sa.select(executors.c.id).where(executors.c.ended_at.is_(None), executors.c.lease_until < now_us)
    )
    return list(found.scalars())


def next_end_us(connection: sa.Connection, now_us: int) -> int | None:
    """In how long the first of the leases that hold runs out, if nobody prolongs it; None when there is none."""
    first = connection.execute(
        sa.select(sa.func.min(executors.c.lease_until)).where(
            executors.c.ended_at.is_(None), executors.c.lease_until >= now_us
        )
    ).scalar()
    return None if first is None else int(first) - now_us


def bury(connection: sa.Connection, executor_id: str, now_us: int) -> None:
    """Its work is back in the queue. Only after that: a take-over that fails must be tried again."""
    connection.execute(
        sa.update(executors)
        .where(executors.c.id == executor_id, executors.c.ended_at.is_(None), executors.c.lease_until < now_us)
        .values(ended_at=now_us)
    )

"""Who waits long leaves memory: the execution ends, and what it had done is replayed when there is something to do.

A waiting workflow is a row that belongs to no process. It comes back through the queue when its message has come or its
time is over, in whichever process is first, together with whoever waits for its answer. So thousands of approvals that
wait weigh nothing, hold nothing, and need no takeover when a process dies. Never does: wake anybody in time by itself
(the durable library does).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator
from contextvars import Context
from typing import Any

import orjson
import sqlalchemy as sa

from quell.engine.claims import Claims

LEAST_MS = 5_000
"""A wait that is over sooner stays where it is."""
AGAIN_S = 1.0
"""How soon it is tried again at the earliest: what it waits for may not be on disk yet."""
_WAITS_FOR_TIME = "DBOS.sleep"
_TAKES = "DBOS.recv"
"""Under these names the durable library keeps until when a workflow waits, for a message too, and the message."""


class _NotOurs(Exception):
    """Somebody else has it by now, so nothing is changed."""


class Parking:
    """Of one process. ``stand_before`` the library once it runs."""

    def __init__(self, executor_id: str, claims: Claims, *, after_s: float, queue: str) -> None:
        """``after_s``: how long a wait stays in memory; ``queue``: through which it comes back."""
        self._executor_id, self._claims, self._after_s, self._queue = executor_id, claims, after_s, queue
        self._library: Any = None
        self._callers: dict[str, str] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._at_work: set[asyncio.Task[None]] = set()
        self._leaving: set[str] = set()

    def stand_before(self, library: Any) -> None:
        self._library = library

    @contextlib.contextmanager
    def called(self, workflow: str, by: str | None) -> Iterator[None]:
        """While ``by`` waits for the answer of ``workflow`` and does nothing else."""
        if by is None:
            yield
            return
        self._callers[workflow] = by
        try:
            yield
        finally:
            self._callers.pop(workflow, None)

    @contextlib.contextmanager
    def waits(self, workflow: str | None) -> Iterator[None]:
        """While it waits for a message or a time, and does nothing else."""
        if workflow is None or self._library is None:
            yield
            return
        self._try_in(self._after_s, workflow)
        try:
            yield
        finally:
            self._timers.pop(workflow).cancel()

    def is_leaving(self, workflow: str) -> bool:
        """Whether its execution here is about to end, since it is parked."""
        return workflow in self._leaving

    def _try_in(self, seconds: float, workflow: str) -> None:
        """In a context of its own: it is no step of the workflow."""
        loop = asyncio.get_running_loop()
        self._timers[workflow] = loop.call_later(seconds, self._begin, workflow, context=Context())

    def _begin(self, workflow: str) -> None:
        task = asyncio.get_running_loop().create_task(self._park(workflow))
        self._at_work.add(task)
        task.add_done_callback(self._at_work.discard)

    async def _park(self, workflow: str) -> None:
        running = self._claims.running()
        chain = {one: running[one] for one in self._chain(workflow) if one in running}
        self._leaving.update(chain)
        try:
            if await asyncio.to_thread(self._leave, list(chain.items())):
                await self._claims.end(chain)
            elif workflow in self._timers:
                self._try_in(max(self._after_s, AGAIN_S), workflow)
        except Exception as error:  # it stays where it is
            logging.getLogger("quell").warning("a wait stays in memory: %s: %s", type(error).__name__, error)
        finally:
            self._leaving.difference_update(chain)

    def _chain(self, workflow: str) -> list[str]:
        """It, whoever waits for it here, and so on."""
        chain = [workflow]
        while (caller := self._callers.get(chain[-1])) is not None and caller not in chain:
            chain.append(caller)
        return chain

    def _leave(self, chain: list[tuple[str, str | None]]) -> bool:
        """All of them or none. False: there is something to do for it, or soon will be."""
        table, waiter = self._library.tables.workflow_status, chain[0][0]
        try:
            with self._one_at_a_time() as connection:
                self._hold(connection, waiter)
                until_ms = self._until_ms(connection, waiter)
                if self._has_message(connection, waiter) or until_ms - time.time() * 1000 < LEAST_MS:
                    return False
                for workflow, claim in chain:
                    mine = (
                        table.c.workflow_uuid == workflow, table.c.status == "PENDING",
                        table.c.executor_id == self._executor_id, table.c.owner_xid.is_not_distinct_from(claim),
                    )  # fmt: skip
                    values = {"status": "DELAYED", "delay_until_epoch_ms": until_ms, "owner_xid": None,
                              "started_at_epoch_ms": None, "queue_name": self._queue}  # fmt: skip
                    if not connection.execute(sa.update(table).where(*mine).values(values)).rowcount:
                        raise _NotOurs
        except _NotOurs:
            return False
        return True

    def wake(self, workflow: str, claim: str | None = None) -> list[str]:
        """Once its message is on disk: it and whoever waits for it, none if it was not parked.

        Back into the queue; with a ``claim`` they are this process's at once, which is to begin them under it.
        """
        table, woken = self._library.tables.workflow_status, list[str]()
        values: dict[str, Any] = {"status": "ENQUEUED", "delay_until_epoch_ms": None}
        if claim is not None:
            now_ms = time.time_ns() // 1_000_000
            values |= {"status": "PENDING", "owner_xid": claim, "executor_id": self._executor_id,
                       "started_at_epoch_ms": now_ms, "updated_at": now_ms,
                       "recovery_attempts": table.c.recovery_attempts + 1}  # fmt: skip
        with self._one_at_a_time() as connection:
            row = self._hold(connection, workflow)
            while row is not None and row.status == "DELAYED":
                mine = sa.update(table).where(table.c.workflow_uuid == row.workflow_uuid)
                connection.execute(mine.values(values))
                woken.append(row.workflow_uuid)
                row = self._hold(connection, row.parent_workflow_id) if row.parent_workflow_id else None
        return woken

    def wake_told(self) -> int:
        """Those whose message came from somebody who died before he woke them, or does not know how. How many."""
        table, told = self._library.tables.workflow_status, self._library.tables.notifications
        query = (
            sa.select(table.c.workflow_uuid)
            .join(told, told.c.destination_uuid == table.c.workflow_uuid)
            .where(table.c.status == "DELAYED", told.c.consumed.is_(False))
            .distinct()
        )
        with self._library.engine.begin() as connection:
            missed = connection.execute(query).scalars().all()
        return sum(len(self.wake(workflow)) for workflow in missed)

    @contextlib.contextmanager
    def _one_at_a_time(self) -> Iterator[sa.Connection]:
        """SQLite reads outside of a transaction until something is written: here what is read must stay true."""
        with self._library.engine.begin() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection

    def _hold(self, connection: sa.Connection, workflow: str) -> sa.Row[Any] | None:
        """Who leaves and who wakes come one after the other, the one who waits before whoever waits for it."""
        table = self._library.tables.workflow_status
        query = sa.select(table.c.workflow_uuid, table.c.status, table.c.parent_workflow_id)
        return connection.execute(query.where(table.c.workflow_uuid == workflow).with_for_update()).first()

    def _until_ms(self, connection: sa.Connection, workflow: str) -> int:
        """When the wait is over; 0 when it is not on disk, or over by now.

        Its deadline is the last thing that is kept, and what it then does has a number after it; but a message that was
        taken, which has the number before.
        """
        kept = self._library.tables.operation_outputs
        query = sa.select(kept.c.function_id, kept.c.function_name, kept.c.output).where(
            kept.c.workflow_uuid == workflow
        )
        rows = connection.execute(query.order_by(kept.c.function_id.desc()).limit(2)).all()
        if not rows or rows[0].function_name != _WAITS_FOR_TIME:
            return 0
        last, *before = rows
        taken = any((one.function_id, one.function_name) == (last.function_id - 1, _TAKES) for one in before)
        return 0 if taken else int(orjson.loads(last.output) * 1000)

    def _has_message(self, connection: sa.Connection, workflow: str) -> bool:
        told = self._library.tables.notifications
        query = sa.select(told.c.destination_uuid).where(
            told.c.destination_uuid == workflow, told.c.consumed.is_(False)
        )
        return connection.execute(query.limit(1)).first() is not None

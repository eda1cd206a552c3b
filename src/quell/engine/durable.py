"""DBOS behind one door: durable workflows over our database. Of our files ``serial`` and ``retention`` import it too.

What callers get: workflows by name, steps whose answers are kept, child workflows with chosen ids, messages to a
workflow, and a start that commits together with the caller's own rows. Answers are JSON. The traps of DBOS are dealt
with here: WAL and JSON chosen before anything is stored, one executor id per process, a constant version, recovery of
dead executors and of work that was lost in a living one, and waking this process's own queue and waits instead of
polling for them. Never does: retry a step by itself, know what a workflow is about.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

import sqlalchemy as sa
from dbos import DBOS, DBOSClient, DBOSConfig, SetWorkflowID, _sys_db
from dbos._context import current_owner_xid
from dbos._core import WorkflowHandleAsyncTask, execute_dequeued_workflow
from dbos._error import DBOSWorkflowConflictIDError
from dbos._queue import Queue
from dbos._utils import INTERNAL_QUEUE_NAME

from quell.engine.aside import Loose, aside
from quell.engine.claimed import Claimed
from quell.engine.claims import Claims, GivenBack
from quell.engine.kept import Keep, Kept
from quell.engine.parking import Parking
from quell.engine.patience import Pauses, is_outage, patiently
from quell.engine.places import Places, lending, place_left, working
from quell.engine.prepared import prepare
from quell.engine.replay import Replay
from quell.engine.serial import JsonSerializer
from quell.engine.started import Claim, Started
from quell.engine.step import Ending, alone, ends_with, first_done
from quell.engine.turnstile import Turnstile
from quell.engine.waits import Waits

T = TypeVar("T")
Json = Any
Workflow = Callable[[Json], Awaitable[Json]]

APPLICATION = "quell"
VERSION = "1"
"""Of the workflow protocol, not of Quell: an upgrade must find the approvals that wait."""
RUNS, ERRANDS = "runs", "errands"
"""Runs wait in their queue until a process has a place for them; pages and messages never wait for one."""
PLACES = 20
PARK_AFTER_S = 10.0
CLOSE_S = 3.0
"""How long letting go may take: a database that is away is not waited for."""
MAX_RECOVERIES = 1_000_000
"""Waits are recovered as often as processes restart."""

_letting_go = threading.Lock()
"""The library has one instance per process: the next is not made before the last has been let go of."""


def _is_news(record: logging.LogRecord) -> bool:
    """Whoever ends an execution knows, and says it where it is one to worry about. A page that a queue has begun is the
    same when a run calls for it too."""
    return not str(record.msg).startswith(("Asyncio task cancelled", "Workflow already exists in queue"))


def _let_go() -> None:
    with _letting_go:
        DBOS.destroy(workflow_completion_timeout_sec=0, destroy_registry=True)


async def _given(answer: T) -> T:
    return answer


class Durable:
    """One per process: DBOS is a singleton. Register workflows, then ``launch`` inside the event loop."""

    def __init__(
        self, engine: sa.Engine, *, executor_id: str, poll_s: float = 1.0, steps: sa.Engine | None = None,
        keep: Keep | None = None, places: int = PLACES, park_after_s: float = PARK_AFTER_S,
    ) -> None:  # fmt: skip
        """``steps``: another engine for the same database, for what is kept of steps; by default the same one.
        ``keep``: writes for it, where there is one writer at a time.
        ``places``: how many workflows that need one work here at once, those that wait not counted.
        ``park_after_s``: how long a wait stays in this process."""
        self._engine = engine
        self._poll_s = poll_s
        self.executor_id = executor_id
        self._workflows: dict[str, Any] = {}
        self._serializer = JsonSerializer()
        self._queues: dict[str, Queue] = {}
        self.places = Places(places)
        self._in_places: set[str] = set()
        self._turnstile = Turnstile(self.places, RUNS)
        self._client: DBOSClient | None = None
        self.in_flight: Callable[[str], bool] = lambda workflow_id: False
        """What is not cut off although somebody else has it by now, since it is in the middle of an effect."""
        self._closing = False
        self._claims, self._claimed = Claims(), Claimed(executor_id, queue=INTERNAL_QUEUE_NAME)
        self._started = Started(executor_id)
        self._kicking = asyncio.Lock()
        self._replay = Replay()
        self._waits = Waits()
        self._parking = Parking(executor_id, self._claims, after_s=park_after_s, queue=INTERNAL_QUEUE_NAME)
        self._pauses = Pauses()
        self._keeping = Kept(keep, self._pauses) if keep is not None else None
        setattr(_sys_db, "time", self._pauses)  # noqa: B010
        logging.getLogger("dbos").setLevel(logging.WARNING)
        logging.getLogger("dbos").addFilter(_is_news)
        config: DBOSConfig = {
            "name": APPLICATION,
            "system_database_engine": steps or engine,
            "application_version": VERSION,
            "executor_id": executor_id,
            "serializer": self._serializer,
            "notification_listener_polling_interval_sec": poll_s,
            # For events and streams, which we have none of: by default a thread would wake a hundred times a second.
            "notification_coalesce_sec": 0.25,
            "log_level": "WARNING",
            "max_executor_threads": 32,
            "use_listen_notify": engine.dialect.name != "sqlite",
            "enable_otlp": False,
        }
        if engine.dialect.name != "sqlite":
            config["system_database_url"] = engine.url.render_as_string(hide_password=False)
        with _letting_go:
            self._dbos = DBOS(config=config)

    def workflow(self, name: str, body: Workflow, *, in_place: bool = False) -> None:
        """Register a workflow under a name that stays the same across releases.

        ``in_place``: it waits in its queue until there is a place for it.
        """
        if in_place:
            self._in_places.add(name)
        own_place = partial(working, self.places, own=in_place)

        async def run(request: Json) -> Json:
            workflow_id = str(DBOS.workflow_id)
            try:
                async with self._claims.held(workflow_id, current_owner_xid(workflow_id)):
                    with self._replay.of(workflow_id, current_owner_xid(workflow_id)), own_place(workflow_id):
                        return await body(request)
            except GivenBack:
                raise DBOSWorkflowConflictIDError(workflow_id) from None

        run.__name__ = run.__qualname__ = name
        self._workflows[name] = DBOS.workflow(name=name, max_recovery_attempts=MAX_RECOVERIES)(run)

    async def launch(self) -> None:
        """Migrate DBOS's tables and start its threads. Call from inside the event loop that shall run workflows."""
        DBOS.launch()
        if self._keeping is not None:
            self._keeping.stand_before(self._dbos._sys_db)
        self._replay.stand_before(self._dbos._sys_db)
        self._waits.stand_before(self._dbos._sys_db)
        self._parking.stand_before(self._dbos._sys_db)
        self._claimed.stand_before(self._dbos._sys_db)
        for name in (RUNS, ERRANDS):
            self._queues[name] = await DBOS.register_queue_async(name, polling_interval_sec=self._poll_s)
        self._turnstile.stand_before(self._dbos._sys_db, self._take_more)
        self._client = DBOSClient(
            system_database_engine=self._engine, serializer=self._serializer, application_name=APPLICATION, lazy=True
        )
        if self._keeping is not None:
            prepare(self._client._sys_db)

    async def shutdown(self) -> None:
        """Stop taking work and let go. Runs that wait are found again at the next start. Harmless when done twice."""
        if self._closing:
            return
        self._closing = True
        self._turnstile.close()
        self._pauses.over.set()
        # What was running is found again at the next start; that it was cut off here is no error to report.
        logging.getLogger("dbos").setLevel(logging.CRITICAL)
        if not await aside(_let_go, CLOSE_S):
            logging.getLogger("quell").warning("the engine still waits for the database; it is left behind")
        # DBOS made its thread pool the loop's and has closed it; the loop goes on without it.
        asyncio.get_running_loop().set_default_executor(Loose(thread_name_prefix="quell"))

    # Starting and talking to workflows, from outside of one.

    def start_in(
        self, connection: sa.Connection, workflow: str, workflow_id: str, request: Json, *, priority: int = 1
    ) -> None:
        """Start a workflow as part of the caller's transaction. The same id starts once.

        Where there is a place for it, it is claimed for this process at once, and runs when ``kick`` is called after
        the transaction; else whoever has a place first takes it. ``priority``: 1 goes before 2.
        """
        if self._client is None:
            raise RuntimeError("the engine is not launched")
        queue = RUNS if workflow in self._in_places else ERRANDS
        self._client.enqueue_in_transaction(
            connection,
            {
                "workflow_name": workflow, "queue_name": queue, "workflow_id": workflow_id, "app_version": VERSION,
                "priority": priority,
            },
            request,
        )  # fmt: skip
        if not self._closing and (queue == ERRANDS or self._turnstile.admits(workflow_id)):
            self._started.claim(connection, self._dbos._sys_db.tables.workflow_status, workflow_id)

    async def kick(self) -> None:
        """Begin what was started in this process and is committed."""
        # One after the other: what one call takes too early, before its commit, is there again for its own.
        async with self._kicking:
            if started := self._started.take():
                await asyncio.to_thread(self._begin_started, started)

    def _begin_started(self, started: dict[str, Claim]) -> None:
        try:
            for status in self._dbos._sys_db.get_workflow_statuses(list(started)):
                # Under our name only: of the same start by somebody else, ours was rolled back.
                if status["executor_id"] == self.executor_id:
                    claim = started.pop(status["workflow_uuid"])
                    if status["recovery_attempts"] == 1:
                        self._replay.is_first(status["workflow_uuid"], claim.owner)
                    execute_dequeued_workflow(self._dbos, status, claim.owner)
        finally:
            self._started.put_back(started)

    async def kick_recovered(self) -> None:
        """Claim what is queued now, in this process, instead of waiting for the next poll.

        Also children, which come back in a queue of the library's own.
        """
        if self._queues:
            for queue in (*self._queues.values(), self._dbos._registry.get_internal_queue()):
                await asyncio.to_thread(self._dequeue, queue)

    async def _take_more(self) -> None:
        with contextlib.suppress(Exception):  # a database that is away: the queue is polled anyway
            await asyncio.to_thread(self._dequeue, self._queues[RUNS])

    def _dequeue(self, queue: Queue) -> None:
        # The same claim and start as DBOS's own queue thread: atomic, so both may run at once.
        owner = str(uuid4())
        self._begin(self._claim(queue, owner), owner)

    def _claim(self, queue: Queue, owner: str) -> list[str]:
        claimed, _ = self._dbos._sys_db.start_queued_workflows(
            queue, self.executor_id, VERSION, None, 0, owner_xid=owner, is_latest_version=None
        )
        return claimed

    def _begin(self, claimed: list[str], owner: str) -> None:
        for status in self._dbos._sys_db.get_workflow_statuses(claimed) if claimed else ():
            execute_dequeued_workflow(self._dbos, status, owner)

    async def send(self, workflow_id: str, message: Json, *, topic: str, key: str) -> None:
        """Give a waiting workflow a message, once per ``key``, and wake it if it waits in this process."""
        if self._client is None:
            raise RuntimeError("the engine is not launched")
        # Through the client: whoever calls this may do so from within another workflow's context, whose step it is not.
        await asyncio.to_thread(self._client.send, workflow_id, message, topic, key)
        waiter = self._dbos._sys_db.notifications_map.get(f"{workflow_id}::{topic}")
        if waiter is not None:
            waiter.set()
        # Even one that was still there a moment ago may be on its way out.
        await asyncio.to_thread(self._wake, workflow_id)

    def _wake(self, workflow_id: str) -> None:
        """Here and at once, beyond any limit: what was agreed to is not put off. Elsewhere when this process ends."""
        claim = str(uuid4()) if self._turnstile.is_open else None
        woken = self._parking.wake(workflow_id, claim)
        if woken and claim is not None:
            self._begin(woken, claim)

    def recover(self, executor_id: str) -> int:
        """Put the unfinished work of a dead executor back in the queue. Harmless when done twice."""
        return len(DBOS._recover_pending_workflows([executor_id]))

    async def pick_up(self) -> list[str]:
        """Put back in the queue what the database says runs here, and does not; end what runs here and is somebody
        else's by now. Returns the workflows that were put back.

        To be called at every beat: what ended without an outcome goes on after two. Harmless when done twice.
        """
        if self._closing or self._client is None:
            return []
        await self.kick()
        running = self._claims.running()
        claimed = await asyncio.to_thread(self._claimed.here)
        if astray := self._claims.end_astray(running, claimed, self._spares):
            logging.getLogger("quell").warning("work was taken over while this process was silent: %s", astray)
        lost = self._claims.lost(claimed, self._dbos._active_workflows_set.activeList())
        again = [one for one, claim in lost.items() if await asyncio.to_thread(self._claimed.give_back, one, claim)]
        if await asyncio.to_thread(self._parking.wake_told) or again:
            await self.kick_recovered()
        return again

    def _spares(self, workflow_id: str) -> bool:
        return self.in_flight(workflow_id) or self._parking.is_leaving(workflow_id)

    async def running(self, workflow: str) -> dict[str, list[str]]:
        """Executor → the workflows of this name that it has claimed and that have not ended."""
        return await asyncio.to_thread(self._claimed.by_executor, workflow)

    def drain(self) -> None:
        """Begin no more runs here; what runs goes on. Whoever else has a place begins them."""
        self._turnstile.close()

    async def status(self, workflow_id: str) -> str | None:
        """``PENDING``, ``SUCCESS``, ``ERROR``, …; None when there is no such workflow."""
        found = await DBOS.get_workflow_status_async(workflow_id)
        return found.status if found else None

    # Inside of a workflow.

    async def step(self, name: str, work: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """Do something once and keep the answer (JSON). Runs again if the process died while it ran."""
        if not self._replay.has_nothing(DBOS.workflow_id):
            return await self._kept(DBOS.run_step_async({"name": name}, patiently, work, *args))
        record = self._keeping.record if self._keeping is not None else alone(self._dbos._sys_db, self._pauses.over)
        together = self._keeping is not None
        return await self._kept(first_done(name, patiently(work, *args), self._serializer, record, together=together))

    def ends_with(self, write: Callable[[sa.Connection], T], told: Callable[[T], None]) -> bool:
        """Have the step that runs here end with this: written in one transaction with its answer, then told. False
        where that cannot be."""
        return ends_with(Ending(write, told))

    async def last_step(
        self, name: str, work: Callable[..., Coroutine[Any, Any, T]], *args: Any, ends: Callable[[T], bool]
    ) -> T:  # fmt: skip
        """A step, of whose answer ``ends`` says whether the workflow ends with it. It is then kept as the workflow's
        own answer alone, which saves a commit; so until then it may run again, as a step that was cut off does."""
        if not self._replay.has_nothing(DBOS.workflow_id):
            return await self.step(name, work, *args)
        answer = await self._kept(patiently(work, *args))
        return answer if ends(answer) else await self.step(name, _given, answer)

    async def _kept(self, asked: Coroutine[Any, Any, T]) -> T:
        """What could not be kept has not failed: for this process it is cancelled, and it is done again later.

        So ends what the database would not take, and what came after the engine had closed.
        """
        try:
            return await asked
        except Exception as error:
            if self._closing:
                raise asyncio.CancelledError from None
            if not is_outage(error):
                raise
            logging.getLogger("quell").warning("a workflow is put off, since the database did not keep it: %s", error)
            raise asyncio.CancelledError from None

    async def child(self, workflow: str, workflow_id: str, request: Json) -> Any:
        """Start a child workflow; await ``get_result`` of what is returned, or let it go on alone."""
        with SetWorkflowID(workflow_id), self._replay.starting(workflow_id, DBOS.workflow_id):
            handle = await self._kept(DBOS.start_workflow_async(self._workflows[workflow], request))
        if not isinstance(handle, WorkflowHandleAsyncTask):
            self._replay.forget([workflow_id])  # it runs elsewhere, or has run
        return handle

    async def call(self, workflow: str, workflow_id: str, request: Json) -> Json:
        """Run a child workflow to its end: here, in the caller's place; while it runs elsewhere, that is left."""
        # From before it begins: it may be parked before we hear that it has begun.
        with self._parking.called(workflow_id, DBOS.workflow_id):
            with lending():
                handle = await self.child(workflow, workflow_id, request)
            elsewhere = not isinstance(handle, WorkflowHandleAsyncTask)
            with place_left() if elsewhere else contextlib.nullcontext():
                return await self._kept(handle.get_result(polling_interval_sec=self._poll_s))

    def fence(self) -> Callable[[sa.Connection], None]:
        """For a transaction of the workflow that runs here: raises ``Fenced`` when somebody else has its work by now.

        Until that transaction has ended nobody takes it over.
        """
        workflow_id = DBOS.workflow_id
        if workflow_id is None:
            return lambda connection: None
        return self._claimed.fence(workflow_id, current_owner_xid(workflow_id))

    async def receive(self, topic: str, timeout_s: float) -> Json | None:
        """Wait for a message; the deadline survives restarts. None when it passed."""
        with place_left(), self._parking.waits(DBOS.workflow_id):
            return await self._kept(DBOS.recv_async(topic, timeout_seconds=timeout_s))

    async def sleep(self, seconds: float) -> None:
        """A sleep whose end survives restarts."""
        with place_left(), self._parking.waits(DBOS.workflow_id):
            await self._kept(DBOS.sleep_async(seconds))

    async def pause(self, seconds: float) -> None:
        """A sleep inside of a step, which begins anew when the step does."""
        with place_left():
            await asyncio.sleep(seconds)

    def workflows(self) -> Mapping[str, Any]:
        return self._workflows

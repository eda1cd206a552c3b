"""DBOS behind one door: durable workflows over our database. Only this file and ``retention`` import ``dbos``.

What callers get: workflows by name, steps whose answers are kept, child workflows with chosen ids, messages to a
workflow, and a start that commits together with the caller's own rows. Answers are JSON. The traps of DBOS are dealt
with here: WAL and JSON chosen before anything is stored, one executor id per process, a constant version, recovery of
dead executors and of work that was lost in a living one, and waking this process's own queue and waits instead of
polling for them. Never does: retry a step by itself, know what a workflow is about.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar
from uuid import uuid4

import orjson
import sqlalchemy as sa
from dbos import DBOS, DBOSClient, DBOSConfig, SetWorkflowID, _sys_db
from dbos._context import current_owner_xid
from dbos._core import execute_dequeued_workflow
from dbos._error import DBOSWorkflowConflictIDError
from dbos._queue import Queue
from dbos._serialization import Serializer
from dbos._utils import INTERNAL_QUEUE_NAME
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from quell.engine.aside import Loose, aside
from quell.engine.claims import Claims, GivenBack
from quell.engine.replay import Replay
from quell.engine.started import Claim, Started
from quell.errors import Unavailable

T = TypeVar("T")
Json = Any
Workflow = Callable[[Json], Awaitable[Json]]

APPLICATION = "quell"
VERSION = "1"
"""Of the workflow protocol, not of Quell: an upgrade must find the approvals that wait."""
QUEUE = "runs"
LONGEST_PAUSE_S = 5.0
CLOSE_S = 3.0
"""How long letting go may take: a database that is away is not waited for."""
MAX_RECOVERIES = 1_000_000
"""Waits are recovered as often as processes restart."""


_FLOATS_END = 10**308


class JsonSerializer(Serializer):
    """Plain JSON. An exception becomes its type and text; steps that may fail return errors as data instead."""

    def name(self) -> str:
        return "quell_json"

    def serialize(self, data: Any) -> str:
        if isinstance(data, BaseException):
            data = {"__error__": type(data).__name__, "text": str(data)}
        try:
            return orjson.dumps(data, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
        except TypeError:
            return orjson.dumps(_narrowed(data), default=str, option=orjson.OPT_NON_STR_KEYS).decode()

    def deserialize(self, serialized_data: str) -> Any:
        data = orjson.loads(serialized_data)
        if isinstance(data, dict) and "__error__" in data:
            return RuntimeError(f"{data['__error__']}: {data['text']}")
        return data


def _narrowed(data: Any) -> Any:
    """Integers beyond 64 bits as the nearest float, text that is no Unicode spelled out: every answer is kept."""
    if isinstance(data, Mapping):
        return {_narrowed(name): _narrowed(inner) for name, inner in data.items()}
    if isinstance(data, list | tuple):
        return [_narrowed(inner) for inner in data]
    if isinstance(data, str):
        return data.encode("utf-8", "backslashreplace").decode()
    if isinstance(data, int) and not -(2**63) <= data < 2**64:
        return float(data) if abs(data) < _FLOATS_END else str(data)
    return data


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


def _is_outage(error: Exception) -> bool:
    """Whether the database could not take part, whatever it was asked."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return isinstance(error, OperationalError | InterfaceError | sa.exc.TimeoutError)


class _Pauses:
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


_letting_go = threading.Lock()
"""The library has one instance per process: the next is not made before the last has been let go of."""


def _let_go() -> None:
    with _letting_go:
        DBOS.destroy(workflow_completion_timeout_sec=0, destroy_registry=True)


class Durable:
    """One per process: DBOS is a singleton. Register workflows, then ``launch`` inside the event loop."""

    def __init__(
        self, engine: sa.Engine, *, executor_id: str, poll_s: float = 1.0, steps: sa.Engine | None = None
    ) -> None:
        """``steps``: another engine for the same database, for what is kept of steps; by default the same one."""
        self._engine = engine
        self._poll_s = poll_s
        self.executor_id = executor_id
        self._workflows: dict[str, Any] = {}
        self._serializer = JsonSerializer()
        self._queue: Queue | None = None
        self._client: DBOSClient | None = None
        self._closing = False
        self._claims = Claims()
        self._started = Started(executor_id)
        self._kicking = asyncio.Lock()
        self._replay = Replay()
        self._pauses = _Pauses()
        setattr(_sys_db, "time", self._pauses)  # noqa: B010
        logging.getLogger("dbos").setLevel(logging.WARNING)
        config: DBOSConfig = {
            "name": APPLICATION,
            "system_database_engine": steps or engine,
            "application_version": VERSION,
            "executor_id": executor_id,
            "serializer": self._serializer,
            "notification_listener_polling_interval_sec": poll_s,
            "log_level": "WARNING",
            "max_executor_threads": 32,
            "use_listen_notify": engine.dialect.name != "sqlite",
            "enable_otlp": False,
        }
        if engine.dialect.name != "sqlite":
            config["system_database_url"] = engine.url.render_as_string(hide_password=False)
        with _letting_go:
            self._dbos = DBOS(config=config)

    def workflow(self, name: str, body: Workflow) -> None:
        """Register a workflow under a name that stays the same across releases."""

        async def run(request: Json) -> Json:
            workflow_id = str(DBOS.workflow_id)
            try:
                async with self._claims.held(workflow_id, current_owner_xid(workflow_id)):
                    with self._replay.of(workflow_id, current_owner_xid(workflow_id)):
                        return await body(request)
            except GivenBack:
                raise DBOSWorkflowConflictIDError(workflow_id) from None

        run.__name__ = run.__qualname__ = name
        self._workflows[name] = DBOS.workflow(name=name, max_recovery_attempts=MAX_RECOVERIES)(run)

    async def launch(self) -> None:
        """Migrate DBOS's tables and start its threads. Call from inside the event loop that shall run workflows."""
        DBOS.launch()
        self._replay.stand_before(self._dbos._sys_db)
        self._queue = await DBOS.register_queue_async(QUEUE, polling_interval_sec=self._poll_s)
        self._client = DBOSClient(
            system_database_engine=self._engine, serializer=self._serializer, application_name=APPLICATION, lazy=True
        )

    async def shutdown(self) -> None:
        """Stop taking work and let go. Runs that wait are found again at the next start. Harmless when done twice."""
        if self._closing:
            return
        self._closing = True
        self._pauses.over.set()
        # What was running is found again at the next start; that it was cut off here is no error to report.
        logging.getLogger("dbos").setLevel(logging.CRITICAL)
        if not await aside(_let_go, CLOSE_S):
            logging.getLogger("quell").warning("the engine still waits for the database; it is left behind")
        # DBOS made its thread pool the loop's and has closed it; the loop goes on without it.
        asyncio.get_running_loop().set_default_executor(Loose(thread_name_prefix="quell"))

    # Starting and talking to workflows, from outside of one.

    def start_in(self, connection: sa.Connection, workflow: str, workflow_id: str, request: Json) -> None:
        """Start a workflow as part of the caller's transaction. The same id starts once.

        It is claimed for this process at once, and runs when ``kick`` is called after the transaction.
        """
        if self._client is None:
            raise RuntimeError("the engine is not launched")
        self._client.enqueue_in_transaction(
            connection,
            {"workflow_name": workflow, "queue_name": QUEUE, "workflow_id": workflow_id, "app_version": VERSION},
            request,
        )
        if not self._closing:
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
        if self._queue is not None:
            await asyncio.to_thread(self._dequeue, self._queue)
            await asyncio.to_thread(self._dequeue, self._dbos._registry.get_internal_queue())

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

    def recover(self, executor_id: str) -> int:
        """Put the unfinished work of a dead executor back in the queue. Harmless when done twice."""
        return len(DBOS._recover_pending_workflows([executor_id]))

    async def pick_up(self) -> list[str]:
        """Put back in the queue what the database says runs here, and does not. Returns the workflows.

        To be called at every beat: what ended without an outcome goes on after two. Harmless when done twice.
        """
        if self._closing or self._client is None:
            return []
        await self.kick()
        claimed = await asyncio.to_thread(self._claimed)
        lost = self._claims.lost(claimed, self._dbos._active_workflows_set.activeList())
        again = [one for one, claim in lost.items() if await asyncio.to_thread(self._give_back, one, claim)]
        if again:
            await self.kick_recovered()
        return again

    def _claimed(self) -> dict[str, str | None]:
        """What this process has claimed and not ended, each with its claim."""
        table = self._dbos._sys_db.tables.workflow_status
        query = sa.select(table.c.workflow_uuid, table.c.owner_xid).where(
            table.c.status == "PENDING", table.c.executor_id == self.executor_id
        )
        with self._dbos._sys_db.engine.connect() as connection:
            return {row.workflow_uuid: row.owner_xid for row in connection.execute(query)}

    def _give_back(self, workflow_id: str, claim: str | None) -> bool:
        """As the recovery of a dead executor does it, but for one claim and no later one of this process."""
        table = self._dbos._sys_db.tables.workflow_status
        where = (
            table.c.workflow_uuid == workflow_id, table.c.status == "PENDING",
            table.c.executor_id == self.executor_id, table.c.owner_xid.is_not_distinct_from(claim),
        )  # fmt: skip
        queue = sa.func.coalesce(table.c.queue_name, INTERNAL_QUEUE_NAME)
        values = {"status": "ENQUEUED", "owner_xid": None, "started_at_epoch_ms": None, "queue_name": queue}
        with self._dbos._sys_db.engine.begin() as connection:
            return connection.execute(sa.update(table).where(*where).values(values)).rowcount > 0

    async def status(self, workflow_id: str) -> str | None:
        """``PENDING``, ``SUCCESS``, ``ERROR``, …; None when there is no such workflow."""
        found = await DBOS.get_workflow_status_async(workflow_id)
        return found.status if found else None

    # Inside of a workflow.

    async def step(self, name: str, work: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """Do something once and keep the answer (JSON). Runs again if the process died while it ran."""
        return await self._kept(DBOS.run_step_async({"name": name}, patiently, work, *args))

    async def _kept(self, asked: Coroutine[Any, Any, T]) -> T:
        """What could not be kept has not failed: for this process it is cancelled, and it is done again later.

        So ends what the database would not take, and what came after the engine had closed.
        """
        try:
            return await asked
        except Exception as error:
            if self._closing:
                raise asyncio.CancelledError from None
            if not _is_outage(error):
                raise
            logging.getLogger("quell").warning("a workflow is put off, since the database did not keep it: %s", error)
            raise asyncio.CancelledError from None

    async def child(self, workflow: str, workflow_id: str, request: Json) -> Any:
        """Start a child workflow; await ``get_result`` of what is returned, or let it go on alone."""
        with SetWorkflowID(workflow_id):
            return await self._kept(DBOS.start_workflow_async(self._workflows[workflow], request))

    async def call(self, workflow: str, workflow_id: str, request: Json) -> Json:
        """Run a child workflow to its end."""
        handle = await self.child(workflow, workflow_id, request)
        return await self._kept(handle.get_result(polling_interval_sec=self._poll_s))

    async def receive(self, topic: str, timeout_s: float) -> Json | None:
        """Wait for a message; the deadline survives restarts. None when it passed."""
        return await self._kept(DBOS.recv_async(topic, timeout_seconds=timeout_s))

    async def sleep(self, seconds: float) -> None:
        """A sleep whose end survives restarts."""
        await self._kept(DBOS.sleep_async(seconds))

    def workflows(self) -> Mapping[str, Any]:
        return self._workflows

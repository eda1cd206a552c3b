"""DBOS behind one door: durable workflows over our database. The only file that imports ``dbos``.

What callers get: workflows by name, steps whose answers are kept, child workflows with chosen ids, messages to a
workflow, and a start that commits together with the caller's own rows. Answers are JSON. The traps of DBOS are dealt
with here: WAL and JSON chosen before anything is stored, one executor id per process, a constant version, recovery of
dead executors, and waking this process's own queue and waits instead of polling for them.
Never does: retry a step by itself, know what a workflow is about.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from uuid import uuid4

import orjson
import sqlalchemy as sa
from dbos import DBOS, DBOSClient, DBOSConfig, SetWorkflowID
from dbos._core import execute_dequeued_workflow
from dbos._queue import Queue
from dbos._serialization import Serializer

from quell.errors import Unavailable

T = TypeVar("T")
Json = Any
Workflow = Callable[[Json], Awaitable[Json]]

APPLICATION = "quell"
VERSION = "1"
"""Of the workflow protocol, not of Quell: an upgrade must find the approvals that wait."""
QUEUE = "runs"
LONGEST_PAUSE_S = 5.0
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


class Durable:
    """One per process: DBOS is a singleton. Register workflows, then ``launch`` inside the event loop."""

    def __init__(self, engine: sa.Engine, *, executor_id: str, poll_s: float = 1.0) -> None:
        self._engine = engine
        self._poll_s = poll_s
        self.executor_id = executor_id
        self._workflows: dict[str, Any] = {}
        self._serializer = JsonSerializer()
        self._queue: Queue | None = None
        self._client: DBOSClient | None = None
        self._closing = False
        logging.getLogger("dbos").setLevel(logging.WARNING)
        config: DBOSConfig = {
            "name": APPLICATION,
            "system_database_engine": engine,
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
        self._dbos = DBOS(config=config)

    def workflow(self, name: str, body: Workflow) -> None:
        """Register a workflow under a name that stays the same across releases."""

        async def run(request: Json) -> Json:
            return await body(request)

        run.__name__ = run.__qualname__ = name
        self._workflows[name] = DBOS.workflow(name=name, max_recovery_attempts=MAX_RECOVERIES)(run)

    async def launch(self) -> None:
        """Migrate DBOS's tables and start its threads. Call from inside the event loop that shall run workflows."""
        DBOS.launch()
        self._queue = await DBOS.register_queue_async(QUEUE, polling_interval_sec=self._poll_s)
        self._client = DBOSClient(
            system_database_engine=self._engine, serializer=self._serializer, application_name=APPLICATION, lazy=True
        )

    async def shutdown(self) -> None:
        """Stop taking work and let go. Runs that wait are found again at the next start."""
        self._closing = True
        # What was running is found again at the next start; that it was cut off here is no error to report.
        logging.getLogger("dbos").setLevel(logging.CRITICAL)
        await asyncio.to_thread(DBOS.destroy, workflow_completion_timeout_sec=0, destroy_registry=True)
        # DBOS made its thread pool the loop's and has closed it; the loop goes on without it.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(thread_name_prefix="quell"))

    # Starting and talking to workflows, from outside of one.

    def start_in(self, connection: sa.Connection, workflow: str, workflow_id: str, request: Json) -> None:
        """Start a workflow as part of the caller's transaction. The same id starts once."""
        if self._client is None:
            raise RuntimeError("the engine is not launched")
        self._client.enqueue_in_transaction(
            connection,
            {"workflow_name": workflow, "queue_name": QUEUE, "workflow_id": workflow_id, "app_version": VERSION},
            request,
        )

    async def kick(self) -> None:
        """Claim what is queued now, in this process, instead of waiting for the next poll."""
        if self._queue is not None:
            await asyncio.to_thread(self._dequeue, self._queue)

    def _dequeue(self, queue: Queue) -> None:
        # The same claim and start as DBOS's own queue thread: atomic, so both may run at once.
        owner = str(uuid4())
        database = self._dbos._sys_db
        claimed, _ = database.start_queued_workflows(
            queue, self.executor_id, VERSION, None, 0, owner_xid=owner, is_latest_version=None
        )
        for status in database.get_workflow_statuses(claimed) if claimed else ():
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

    async def status(self, workflow_id: str) -> str | None:
        """``PENDING``, ``SUCCESS``, ``ERROR``, …; None when there is no such workflow."""
        found = await DBOS.get_workflow_status_async(workflow_id)
        return found.status if found else None

    # Inside of a workflow.

    async def step(self, name: str, work: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """Do something once and keep the answer (JSON). Runs again if the process died while it ran."""
        return await self._unless_closing(DBOS.run_step_async({"name": name}, patiently, work, *args))

    async def _unless_closing(self, step: Coroutine[Any, Any, T]) -> T:
        """A step that ends after the engine has closed was not kept: for this process it is cancelled, not failed."""
        try:
            return await step
        except RuntimeError:
            if self._closing:
                raise asyncio.CancelledError from None
            raise

    async def child(self, workflow: str, workflow_id: str, request: Json) -> Any:
        """Start a child workflow; await ``get_result`` of what is returned, or let it go on alone."""
        with SetWorkflowID(workflow_id):
            return await DBOS.start_workflow_async(self._workflows[workflow], request)

    async def call(self, workflow: str, workflow_id: str, request: Json) -> Json:
        """Run a child workflow to its end."""
        handle = await self.child(workflow, workflow_id, request)
        return await handle.get_result(polling_interval_sec=self._poll_s)

    async def receive(self, topic: str, timeout_s: float) -> Json | None:
        """Wait for a message; the deadline survives restarts. None when it passed."""
        return await DBOS.recv_async(topic, timeout_seconds=timeout_s)

    async def sleep(self, seconds: float) -> None:
        """A sleep whose end survives restarts."""
        await DBOS.sleep_async(seconds)

    def workflows(self) -> Mapping[str, Any]:
        return self._workflows

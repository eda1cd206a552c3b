"""A ``Durable`` with workflows that leave lines in a file, in the test's process or in one of its own that is killed.

A ``Durable`` is one per process: leave one ``engine`` before the next is entered. Never waits without a deadline.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa

from quell.engine.durable import Durable
from quell.store.database import Database
from tests.servers.forked import Forked

WITHIN_S = 20.0
EVERY_S = 0.02
POLL_S = 0.1
HARD = {"huge": 2**70, "small": -(2**70), "beyond": 10**400, "text": "\ud800 half", "list": ["\udfff", 2**64], "ä": 1.5}
"""What plain JSON cannot say."""


class Works:
    """The workflows. What a step did is a line of the file ``done``; the file ``go`` opens the gate."""

    def __init__(self, durable: Durable, folder: Path, database: Database) -> None:
        self.durable, self.folder, self.database = durable, folder, database
        self.inside = self.most = 0
        """Steps at the gate in this process, now and at most."""
        self.endings: list[str] = []
        """How executions ended in this process."""
        self.together: list[bool] = []
        """For each note: whether it could be written with the answer of its step."""
        self.heard: list[str] = []
        """The notes that were told to have been written."""
        self.running: set[str] = set()
        """The names of those that run in this process."""
        for name in ("gated", "asks", "naps", "hard", "parent", "lost", "acts", "hasty", "fails", "notes"):
            durable.workflow(name, self._watched(getattr(self, name)))
        for name in ("works", "waits", "calls", "dozes"):
            durable.workflow(name, self._watched(getattr(self, name)), in_place=True)

    def _watched(self, body: Callable[[Any], Awaitable[Any]]) -> Callable[[Any], Awaitable[Any]]:
        async def run(request: Any) -> Any:
            self.running.add(body.__name__)
            try:
                answer = await body(request)
            except BaseException as error:
                self.endings.append(type(error).__name__)
                raise
            finally:
                self.running.discard(body.__name__)
            self.endings.append("")
            return answer

        return run

    async def _do(self, what: str) -> int:
        with (self.folder / "done").open("a") as file:
            file.write(f"{what}\n")
        return os.getpid()

    async def _gate(self) -> None:
        await self._do("gate")
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            while not (self.folder / "go").exists():
                await asyncio.sleep(EVERY_S)
        finally:
            self.inside -= 1

    async def gated(self, request: Any) -> Any:
        """A step, one that waits at the gate, and one that says which process the first one ran in."""
        first = await self.durable.step("first", self._do, "first")
        await self.durable.step("gate", self._gate)
        await self.durable.step("last", self._do, f"last after {first}")
        return first

    async def asks(self, request: float) -> Any:
        """Takes messages until none came for ``request`` seconds, or ``stop`` did."""
        await self.durable.step("asked", self._do, "asked")
        while (message := await self.durable.receive("answer", request)) not in (None, "stop"):
            await self.durable.step("got", self._do, f"got {message}")
        await self.durable.step("ended", self._do, "ended")

    async def naps(self, request: float) -> Any:
        await self.durable.step("asleep", self._do, "asleep")
        await self.durable.sleep(request)
        await self.durable.step("awake", self._do, "awake")

    async def hard(self, request: Any) -> Any:
        """A step whose answer is hard to keep, told after the gate."""
        answer = await self.durable.step("answer", self._hard)
        await self.durable.step("gate", self._gate)
        await self.durable.step("told", self._do, orjson.dumps(answer).decode())
        return answer

    async def _hard(self) -> Any:
        return HARD

    async def lost(self, request: Any) -> Any:
        """Ends without an outcome until ``go`` is there, whatever the cause."""
        first = await self.durable.step("first", self._do, "first")
        if not (self.folder / "go").exists():
            raise asyncio.CancelledError
        await self.durable.step("last", self._do, "last")
        return first

    async def parent(self, request: str) -> Any:
        """Asks the workflow ``lost``."""
        return await self.durable.call("lost", request, None)

    async def hasty(self, request: str) -> Any:
        """Does something at once, and ends with its answer when that is ``over``."""
        answer = await self.durable.last_step("all", self._all, request, ends=lambda said: said == "over")
        if answer == "over":
            return answer
        await self.durable.step("rest", self._do, f"rest after {answer}")
        return answer

    async def _all(self, request: str) -> str:
        await self._do(f"all {request}")
        if request == "gate":
            await self._gate()
        return request

    async def acts(self, request: Any) -> Any:
        """When it is told to, and only while it has its work."""
        await self.durable.step("asked", self._do, "asked")
        await self.durable.receive("answer", 600.0)
        await self.durable.step("act", self._act)

    async def _act(self) -> None:
        with self.database.engine.begin() as connection:
            self.durable.fence()(connection)
        await self._do("acted")

    async def fails(self, request: Any) -> Any:
        """A step that fails, and with it the workflow."""
        await self.durable.step("first", self._do, "first")
        await self.durable.step("wrong", self._wrong)

    async def _wrong(self) -> None:
        raise ValueError("wrong")

    async def notes(self, request: str) -> Any:
        """A step that ends with a note in the table ``notes``, if there is one, and one after it."""
        first = await self.durable.step("note", self._note, request)
        await self.durable.step("after", self._do, f"after {first}")
        return first

    async def _note(self, text: str) -> str:
        def write(connection: sa.Connection) -> str:
            connection.execute(sa.text("insert into notes values (:text)"), {"text": text})
            return text

        self.together.append(self.durable.ends_with(write, self.heard.append))
        return text

    # These need a place.

    async def works(self, request: str) -> Any:
        """Until a file of its name is there."""
        await self.durable.step("began", self._do, f"began {request}")
        await self.durable.step("works", self._until_told, request)
        await self.durable.step("ended", self._do, f"ended {request}")

    async def _until_told(self, name: str) -> None:
        while not (self.folder / name).exists():
            await asyncio.sleep(EVERY_S)

    async def waits(self, request: str) -> Any:
        """For a message, as an approval does."""
        await self.durable.step("asked", self._do, f"asked {request}")
        await self.durable.receive("answer", 600.0)
        await self.durable.step("told", self._do, f"told {request}")
        await self.durable.step("works", self._until_told, request)

    async def calls(self, request: str) -> Any:
        """Somebody who waits."""
        await self.durable.call("waits", f"waits {request}", request)

    async def dozes(self, request: str) -> Any:
        """Inside of a step, as a verification does between two looks."""
        await self.durable.step("doze", self._doze, request)

    async def _doze(self, name: str) -> None:
        await self._do(f"dozing {name}")
        while not (self.folder / name).exists():
            await self.durable.pause(EVERY_S)


class Engine:
    """What ``engine`` yields."""

    def __init__(self, database: Database, durable: Durable, works: Works) -> None:
        self.database, self.durable, self.works = database, durable, works

    async def start(self, workflow: str, workflow_id: str, request: Any = None, *, priority: int = 1) -> None:
        def begin(connection: sa.Connection) -> None:
            self.durable.start_in(connection, workflow, workflow_id, request, priority=priority)

        await self.database.write(begin)
        await self.durable.kick()

    async def ended(self, workflow_id: str, how: str = "SUCCESS") -> None:
        """Until the workflow has ended, so."""

        async def over() -> bool:
            return await self.durable.status(workflow_id) == how

        await until(over, f"the {how} of {workflow_id}")


async def waits(database: Database, workflow_id: str) -> int:
    """Until it waits, and its deadline is on disk: the number of that."""
    schema = "" if database.is_sqlite else "dbos."
    query = sa.text(
        f"select function_id from {schema}operation_outputs where workflow_uuid = :id and function_name = 'DBOS.sleep'"
    )

    async def kept() -> object:
        return await database.read(lambda c: c.execute(query, {"id": workflow_id}).scalar())

    await until(kept, f"{workflow_id} waits")
    number = await kept()
    assert isinstance(number, int)
    return number


def status_of(database: Database, workflow_id: str) -> str | None:
    """As it is on disk, with or without an engine."""
    schema = "" if database.is_sqlite else "dbos."
    query = sa.text(f"select status from {schema}workflow_status where workflow_uuid = :id")
    return database.read_now(lambda c: c.execute(query, {"id": workflow_id}).scalar())


@asynccontextmanager
async def engine(
    url: str, folder: Path, executor: str, *, poll_s: float = POLL_S, places: int = 20, park_after_s: float = 60.0,
    keeps: bool = True,
) -> AsyncIterator[Engine]:  # fmt: skip
    """In this process, over a database that is there. ``keeps``: on SQLite, in the commits of our own writing."""
    database = Database(url)
    durable = Durable(
        database.engine, steps=database.steps, executor_id=executor, poll_s=poll_s, places=places,
        park_after_s=park_after_s, keep=database.keep if database.is_sqlite and keeps else None,
    )  # fmt: skip
    works = Works(durable, folder, database)
    await durable.launch()
    try:
        yield Engine(database, durable, works)
    finally:
        await durable.shutdown()
        database.close()


def live(url: str, folder: str, executor: str, workflow: str, workflow_id: str, request: Any) -> None:
    """In a process of its own: start one workflow, or only be there when none is named."""

    async def run() -> None:
        async with engine(url, Path(folder), executor) as here:
            if workflow:
                await here.start(workflow, workflow_id, request)
            await asyncio.Event().wait()

    asyncio.run(run())


@asynccontextmanager
async def elsewhere(
    url: str, folder: Path, executor: str, workflow: str = "", workflow_id: str = "", request: Any = None
) -> AsyncIterator[None]:
    """``live`` in a child, which is killed at the end."""
    child = Forked("tests.engine.works:live", given=[url, str(folder), executor, workflow, workflow_id, request])
    try:
        yield
        assert not child.ended(), "the child ended by itself"
    finally:
        child.kill()
        await asyncio.to_thread(child.wait)


async def until(holds: Callable[[], Awaitable[object]], what: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not await holds():
        assert time.monotonic() < deadline, f"{what}: not within {WITHIN_S:g} s"
        await asyncio.sleep(EVERY_S)


def done(folder: Path) -> list[str]:
    path = folder / "done"
    return path.read_text().splitlines() if path.exists() else []


async def did(folder: Path, *lines: str) -> None:
    """Until these lines are there; no others come before or between them."""

    async def there() -> bool:
        return len(done(folder)) >= len(lines)

    await until(there, f"{lines} is done, so far {done(folder)}")
    assert done(folder)[: len(lines)] == list(lines)

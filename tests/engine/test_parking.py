"""Who waits long leaves memory, and comes back for its message or when its time is over; nothing is lost in between."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from quell.engine import parking
from tests.engine.works import Engine, did, done, engine, status_of, until, waits

pytestmark = pytest.mark.anyio

SOON_S = 0.1
WAITING = sa.text("select count(*) from pg_locks where not granted")


async def parked(here: Engine, *workflows: str) -> None:
    async def all_of_them() -> bool:
        return all(status_of(here.database, one) == "DELAYED" for one in workflows) and not here.works.running

    await until(all_of_them, f"{workflows} are parked")


async def test_it_leaves_memory_and_comes_back_for_its_message(url: str, tmp_path: Path) -> None:
    async with engine(url, tmp_path, "one", park_after_s=SOON_S) as here:
        await here.start("asks", "w", 600.0)
        await parked(here, "w")
        assert await here.durable.running("asks") == {}
        for heard, word in enumerate(("one", "two"), 1):
            await here.durable.send("w", word, topic="answer", key=word)
            await did(tmp_path, *["asked", "got one", "got two"][: heard + 1])
            await parked(here, "w")
        await here.durable.send("w", "stop", topic="answer", key="stop")
        await here.ended("w")
        assert done(tmp_path) == ["asked", "got one", "got two", "ended"]


async def test_with_whoever_waits_for_it(url: str, tmp_path: Path) -> None:
    async with engine(url, tmp_path, "one", park_after_s=SOON_S) as here:
        await here.start("calls", "p", "c")
        await parked(here, "p", "waits c")
        assert here.durable.places.taken == 0
        (tmp_path / "c").touch()
        await here.durable.send("waits c", "yes", topic="answer", key="yes")
        await here.ended("p")
        assert done(tmp_path) == ["asked c", "told c"]
        assert here.durable.places.taken == 0


async def test_when_its_time_is_over_it_goes_on(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parking, "LEAST_MS", 0)
    async with engine(url, tmp_path, "one", park_after_s=0.0) as here:
        await here.start("asks", "w", 3.0)
        await here.start("naps", "n", 3.0)
        await parked(here, "w", "n")
        assert sorted(done(tmp_path)) == ["asked", "asleep"]
        await here.ended("w")
        await here.ended("n")
        assert sorted(done(tmp_path)) == ["asked", "asleep", "awake", "ended"]


async def test_it_is_nobodys_and_whoever_is_there_goes_on(url: str, tmp_path: Path) -> None:
    async with engine(url, tmp_path, "one", park_after_s=SOON_S) as here:
        await here.start("calls", "p", "c")
        await parked(here, "p", "waits c")
    async with engine(url, tmp_path, "two") as here:
        assert here.durable.recover("one") == 0
        assert not here.works.running
        (tmp_path / "c").touch()
        await here.durable.send("waits c", "yes", topic="answer", key="yes")
        await here.ended("p")
        assert done(tmp_path) == ["asked c", "told c"]


async def test_told_by_somebody_who_died_before_waking_it(url: str, tmp_path: Path) -> None:
    async with engine(url, tmp_path, "one", park_after_s=SOON_S) as here:
        await here.start("asks", "w", 600.0)
        await here.start("asks", "other", 600.0)
        await parked(here, "w", "other")
        client = here.durable._client
        assert client is not None
        await asyncio.to_thread(client.send, "w", "stop", "answer", "stop")
        assert status_of(here.database, "w") == "DELAYED"
        await here.durable.pick_up()
        await here.ended("w")
        assert status_of(here.database, "other") == "DELAYED"


async def test_what_is_soon_over_stays(url: str, tmp_path: Path) -> None:
    async with engine(url, tmp_path, "one", park_after_s=0.0) as here:
        looked = asyncio.Event()
        leave = here.durable._parking._leave

        def looks(chain: Any) -> bool:
            left = leave(chain)
            here_loop.call_soon_threadsafe(looked.set)
            return left

        here_loop, here.durable._parking._leave = asyncio.get_running_loop(), looks  # type: ignore[method-assign]
        await here.start("asks", "w", 4.0)
        await asyncio.wait_for(looked.wait(), 20)
        assert (status_of(here.database, "w"), here.works.running) == ("PENDING", {"asks"})
        await here.durable.send("w", "stop", topic="answer", key="stop")
        await here.ended("w")


async def test_a_message_that_comes_as_it_leaves_brings_it_back(url: str, tmp_path: Path) -> None:
    """Sent after it had looked for one, and before it had left: whoever sends waits, and finds it gone."""
    async with engine(url, tmp_path, "one", park_after_s=SOON_S) as here:
        loop, sending = asyncio.get_running_loop(), list[Any]()
        there = here.durable._parking._has_message

        def looks(connection: Any, workflow: str) -> bool:
            found = there(connection, workflow)
            if not sending:
                send = here.durable.send(workflow, "stop", topic="answer", key="stop")
                sending.append(asyncio.run_coroutine_threadsafe(send, loop))
                while not here.database.is_sqlite and not connection.execute(WAITING).scalar():
                    threading.Event().wait(0.02)
            return found

        here.durable._parking._has_message = looks  # type: ignore[method-assign]
        await here.start("asks", "w", 600.0)
        await here.ended("w")
        await asyncio.wrap_future(sending[0])
        assert done(tmp_path) == ["asked", "ended"]


async def test_what_somebody_else_has_by_now_is_left_alone(url: str, tmp_path: Path) -> None:
    async with engine(url, tmp_path, "one") as here:
        await here.start("calls", "p", "c")
        await did(tmp_path, "asked c")
        running = here.durable._claims.running()
        chain = [("waits c", running["waits c"]), ("p", "another claim")]
        assert not here.durable._parking._leave(chain)
        assert [status_of(here.database, one) for one in ("waits c", "p")] == ["PENDING", "PENDING"]


async def test_what_has_taken_its_message_has_something_to_do(url: str, tmp_path: Path) -> None:
    """The message is not among those that wait any more, and the wait is over all the same."""
    async with engine(url, tmp_path, "one") as here:
        await here.start("asks", "w", 600.0)
        await did(tmp_path, "asked")
        library, claim = here.durable._dbos._sys_db, here.durable._claims.running()["w"]
        kept, deadline = library.tables.operation_outputs, await waits(here.database, "w")
        with library.engine.begin() as connection:
            connection.execute(
                sa.insert(kept).values(workflow_uuid="w", function_id=deadline - 1, function_name="DBOS.recv")
            )
        assert not here.durable._parking._leave([("w", claim)])
        with library.engine.begin() as connection:
            connection.execute(sa.delete(kept).where(kept.c.function_id == deadline - 1))
        assert here.durable._parking._leave([("w", claim)])

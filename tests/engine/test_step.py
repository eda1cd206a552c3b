"""A step that has not been done before: its answer, and what it ends with, are kept together."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa
from dbos._context import _set_local_dbos_context

from quell.engine.step import Ending, ends_with
from tests.engine.works import Engine, did, done, elsewhere, engine, until

pytestmark = pytest.mark.anyio


def table(here: Engine) -> None:
    here.database.write_now(lambda c: c.execute(sa.text("create table notes (text varchar not null unique)")))


def notes(here: Engine) -> list[str]:
    return list(here.database.read_now(lambda c: c.execute(sa.text("select text from notes")).scalars().all()))


def steps(here: Engine, workflow_id: str) -> list[tuple[str, bool]]:
    """What was kept of steps: their names, and whether they failed."""
    schema = "" if here.database.is_sqlite else "dbos."
    query = sa.text(
        f"select function_name, error is not null from {schema}operation_outputs where workflow_uuid = :id order by function_id"
    )
    rows = here.database.read_now(lambda c: c.execute(query, {"id": workflow_id}).all())
    return [(row[0], bool(row[1])) for row in rows]


async def test_what_a_step_ends_with_is_written_with_its_answer(url: str, tmp_path: Path) -> None:
    async with engine(url, tmp_path, "one") as here:
        table(here)
        await here.start("notes", "w", "hello")
        await here.ended("w")
        assert done(tmp_path) == ["after hello"]
        if here.database.is_sqlite:
            assert (here.works.together, here.works.heard, notes(here)) == ([True], ["hello"], ["hello"])
        else:
            assert (here.works.together, here.works.heard, notes(here)) == ([False], [], []), "the caller writes it"


async def test_what_is_begun_in_a_step_is_no_part_of_it(tmp_path: Path) -> None:
    """It inherits where it was begun: what it wrote with an answer that is kept already, nobody would write."""
    async with engine(str(tmp_path / "q.db"), tmp_path, "one") as here:
        seen, ended, tasks = list[bool](), asyncio.Event(), list[asyncio.Task[None]]()
        told = here.works._do
        nothing = Ending(lambda connection: None, lambda told: None)

        async def afterwards() -> None:
            await ended.wait()
            seen.append(ends_with(nothing))

        def in_another_workflow() -> None:
            _set_local_dbos_context(None)
            seen.append(ends_with(nothing))

        async def begins(what: str) -> int:
            if what == "first":
                tasks.append(asyncio.create_task(afterwards()))
                await asyncio.to_thread(lambda: seen.append(ends_with(nothing)))
                await asyncio.to_thread(in_another_workflow)
            return await told(what)

        here.works._do = begins  # type: ignore[method-assign]
        (tmp_path / "go").touch()
        await here.start("gated", "w")
        await here.ended("w")
        ended.set()
        await asyncio.gather(*tasks)
        assert seen == [True, False, False], "as long as the step runs, and only of it"


async def test_what_cannot_be_written_fails_the_step_and_nothing_is_told(tmp_path: Path) -> None:
    async with engine(str(tmp_path / "q.db"), tmp_path, "one") as here:
        table(here)
        here.database.write_now(lambda c: c.execute(sa.text("insert into notes values ('hello')")))
        await here.start("notes", "w", "hello")
        await here.ended("w", "ERROR")
        assert (here.works.heard, notes(here), done(tmp_path)) == ([], ["hello"], [])
        assert steps(here, "w") == [("note", True)]


async def test_a_step_that_fails_is_kept_as_one_that_failed(url: str, tmp_path: Path) -> None:
    async with engine(url, tmp_path, "one") as here:
        await here.start("fails", "w")
        await here.ended("w", "ERROR")
        assert steps(here, "w") == [("first", False), ("wrong", True)]


async def test_of_a_step_that_is_cut_off_nothing_is_kept(url: str, tmp_path: Path) -> None:
    async with engine(url, tmp_path, "one") as here:
        await here.start("gated", "w")
        await did(tmp_path, "first", "gate")
        for task in list(here.durable._dbos._workflow_tasks):
            task.cancel()
        await until(lambda: asyncio.sleep(0, here.works.endings), "it is cut off")
        assert steps(here, "w") == [("first", False)]


async def test_only_a_step_that_was_never_done_ends_with_something(url: str, tmp_path: Path) -> None:
    """In an execution that may have something to replay the caller writes on its own, as outside of a step."""
    assert not ends_with(Ending(lambda connection: None, lambda told: None))
    async with elsewhere(url, tmp_path, "one", "gated", "w"):
        await did(tmp_path, "first", "gate")
    async with engine(url, tmp_path, "two") as here:
        seen: list[bool] = []
        told = here.works._do

        async def asked(what: str) -> int:
            seen.append(ends_with(Ending(lambda connection: None, lambda told: None)))
            return await told(what)

        here.works._do = asked  # type: ignore[method-assign]
        (tmp_path / "go").touch()
        here.durable.recover("one")
        await here.ended("w")
        assert seen == [False, False], "the gate, and what comes after it"

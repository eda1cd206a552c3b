"""What a run keeps on SQLite: row for row what the library would keep, as long as the database takes it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from quell.errors import Unavailable
from tests.engine.works import Engine, did, done, engine, until

pytestmark = pytest.mark.anyio
TABLES = ("workflow_status", "workflow_input", "workflow_output", "operation_outputs")
OWN = {"created_at", "updated_at", "completed_at", "retention_timestamp", "creator_xid", "owner_xid", "started_at_epoch_ms",
       "completed_at_epoch_ms", "application_id", "id"}  # fmt: skip
"""What two runs never have in common."""


async def lived(folder: Path, *, keeps: bool) -> tuple[list[tuple[Any, ...]], ...]:
    """What is in the library's tables after one workflow of each kind."""
    folder.mkdir()
    (folder / "go").touch()
    async with engine(str(folder / "q.db"), folder, "one", keeps=keeps) as here:
        for workflow, request, how in (
            ("gated", None, "SUCCESS"), ("hard", None, "ERROR"), ("parent", "child", "SUCCESS"),
            ("naps", 0.01, "SUCCESS"), ("fails", None, "ERROR"), ("hasty", "over", "SUCCESS"), ("hasty", "on", "SUCCESS"),
        ):  # fmt: skip
            name = f"{workflow} {request}"
            await here.start(workflow, name, request)
            await here.ended(name, how)
        return tuple(here.database.read_now(lambda c, table=table: _rows(c, table)) for table in TABLES)


def _rows(connection: sa.Connection, table: str) -> list[tuple[Any, ...]]:
    rows = connection.execute(sa.text(f"select * from {table}")).mappings()
    kept = [tuple((name, value) for name, value in row.items() if name not in OWN) for row in rows]
    return sorted(kept, key=repr)


async def test_what_is_kept_is_what_the_library_keeps(tmp_path: Path) -> None:
    mine, librarys = await lived(tmp_path / "mine", keeps=True), await lived(tmp_path / "its", keeps=False)
    for table, ours, its in zip(TABLES, mine, librarys, strict=True):
        assert [_without_process(row) for row in ours] == [_without_process(row) for row in its], table
        assert ours, table


def _without_process(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """``first`` answers with the number of its process, ``DBOS.sleep`` with a time."""
    sleeps = ("function_name", "DBOS.sleep") in row
    return tuple(
        (name, "a number") if name in ("output", "error") and (str(value).isdigit() or sleeps) else (name, value)
        for name, value in row
    )


class Away:
    """A ``keep`` of a database that is away, so many times."""

    def __init__(self, keep: Callable[..., Future[Any]], times: float) -> None:
        self.keep, self.times, self.asked = keep, times, 0

    def __call__(self, work: Callable[[sa.Connection], Any], *, lagging: bool) -> Future[Any]:
        self.asked += 1
        if self.times > 0:
            self.times -= 1
            refused: Future[Any] = Future()
            refused.set_exception(Unavailable("the database does not answer"))
            return refused
        return self.keep(work, lagging=lagging)


def away(here: Engine, times: float) -> Away:
    keeping = here.durable._keeping
    assert keeping is not None
    keeping._keep = told = Away(here.database.keep, times)
    return told


async def test_while_the_database_is_away_it_is_asked_again(tmp_path: Path) -> None:
    async with engine(str(tmp_path / "q.db"), tmp_path, "one") as here:
        await here.start("gated", "w")
        await did(tmp_path, "first", "gate")
        told = away(here, 2)
        (tmp_path / "go").touch()
        await here.ended("w")
        assert [line.split()[0] for line in done(tmp_path)] == ["first", "gate", "last"], "nothing is done again"
        assert told.asked == 5, "two that were refused; the gate, the last step and the end"


async def test_nobody_waits_for_a_database_beyond_our_end(tmp_path: Path) -> None:
    async with engine(str(tmp_path / "q.db"), tmp_path, "one") as here:
        await here.start("gated", "w")
        await did(tmp_path, "first", "gate")
        told = away(here, float("inf"))
        (tmp_path / "go").touch()
        await until(lambda: asyncio.sleep(0, told.asked), "it is refused")
        await here.durable.shutdown()
        await until(lambda: asyncio.sleep(0, here.works.endings), "the end of the run in this process")
        assert here.works.endings == ["CancelledError"]
    async with engine(str(tmp_path / "q.db"), tmp_path, "two") as here:
        here.durable.recover("one")
        await here.ended("w")
        assert [line.split()[0] for line in done(tmp_path)] == ["first", "gate", "gate", "last"]

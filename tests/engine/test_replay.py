"""What is asked before a step: nothing in the first execution of a workflow, and never a step twice in the next."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from quell.engine.replay import Replay
from tests.engine.test_claims import ended, picked_up
from tests.engine.works import Engine, did, done, elsewhere, engine, until

pytestmark = pytest.mark.anyio


def count(here: Engine) -> list[str]:
    """The names of the steps that the library looks up from now on."""
    replay, asked = here.durable._replay, list[str]()
    look_up = replay._look_up

    def counted(workflow_id: str, function_id: int, function_name: str, **more: Any) -> Any:
        asked.append(function_name)
        return look_up(workflow_id, function_id, function_name, **more)

    replay._look_up = counted
    return asked


async def test_the_first_execution_looks_nothing_up(url: str, tmp_path: Path) -> None:
    async with engine(url, tmp_path, "one") as here:
        asked = count(here)
        (tmp_path / "go").touch()
        await here.start("gated", "w")
        await here.ended("w")
        assert (asked, len(done(tmp_path))) == ([], 3)


async def test_a_child_that_never_ran_looks_nothing_up_either(url: str, tmp_path: Path) -> None:
    async with engine(url, tmp_path, "one") as here:
        asked = count(here)
        (tmp_path / "go").touch()
        await here.start("parent", "p", "c")
        await here.ended("p")
        assert [name for name in asked if not name.startswith("DBOS.")] == []
        assert done(tmp_path) == ["first", "last"]


async def test_the_next_execution_looks_up_every_step(url: str, tmp_path: Path) -> None:
    async with elsewhere(url, tmp_path, "one", "gated", "w"):
        await did(tmp_path, "first", "gate")
    async with engine(url, tmp_path, "two") as here:
        asked = count(here)
        (tmp_path / "go").touch()
        here.durable.recover("one")
        await here.ended("w")
        assert asked == ["first", "gate", "last"]
        assert [line.split()[0] for line in done(tmp_path)] == ["first", "gate", "gate", "last"]


async def test_an_execution_under_a_later_claim_is_not_the_first(url: str, tmp_path: Path) -> None:
    """What was begun in this process, ended without an outcome, and is begun in it again."""
    async with engine(url, tmp_path, "one") as here:
        asked = count(here)
        await here.start("lost", "w")
        await until(lambda: ended(here, 1), "the end")
        (tmp_path / "go").touch()
        await picked_up(here, "w")
        await here.ended("w")
        assert asked == ["first", "last"]
        assert done(tmp_path) == ["first", "last"]


async def kept(here: Engine, workflow: str) -> list[str]:
    """The names of what the library kept of a workflow."""
    outputs = here.durable._dbos._sys_db.tables.operation_outputs
    query = (
        sa.select(outputs.c.function_name).where(outputs.c.workflow_uuid == workflow).order_by(outputs.c.function_id)
    )
    with here.durable._dbos._sys_db.engine.connect() as connection:
        return list(connection.execute(query).scalars())


async def test_a_step_that_the_workflow_ends_with_is_its_answer_alone(url: str, tmp_path: Path) -> None:
    async with engine(url, tmp_path, "one") as here:
        await here.start("hasty", "w", "over")
        await here.ended("w")
        await here.start("hasty", "v", "more")
        await here.ended("v")
        assert (await kept(here, "w"), await kept(here, "v")) == ([], ["all", "rest"])
        assert done(tmp_path) == ["all over", "all more", "rest after more"]


async def test_one_that_was_cut_off_is_done_again_and_then_kept(url: str, tmp_path: Path) -> None:
    async with elsewhere(url, tmp_path, "one", "hasty", "w", "gate"):
        await did(tmp_path, "all gate", "gate")
    async with engine(url, tmp_path, "two") as here:
        (tmp_path / "go").touch()
        here.durable.recover("one")
        await here.ended("w")
        assert done(tmp_path) == ["all gate", "gate", "all gate", "gate", "rest after gate"]
        assert await kept(here, "w") == ["all", "rest"]


def test_a_child_is_new_when_its_parent_has_nothing_to_replay() -> None:
    replay, library = Replay(), Library()
    replay.stand_before(library)
    replay.is_first("p", "claim")
    with replay.of("p", "claim"):
        with replay.starting("c", "p"):
            pass
        with replay.of("c", "whichever"):
            assert replay.has_nothing("c")
        with replay.starting("d", "p"):
            pass
        replay.forget(["d"])  # it runs elsewhere
        with pytest.raises(ZeroDivisionError), replay.starting("e", "p"):
            raise ZeroDivisionError
        for name in ("d", "e"):
            with replay.of(name, "whichever"):
                assert not replay.has_nothing(name)
    with replay.of("q", None), replay.starting("c", "q"), replay.of("c", "whichever"):
        assert not replay.has_nothing("c")
    assert not replay.has_nothing(None)


def test_what_comes_out_of_a_queue_may_have_run_before() -> None:
    replay, library = Replay(), Library()
    replay.stand_before(library)
    replay.is_first("p", "claim")
    with replay.of("p", "claim"), replay.starting("c", "p"):
        library.queued = ["c"]
    assert library.start_queued_workflows("queue") == (["c"], None)
    with replay.of("c", "whichever"):
        assert not replay.has_nothing("c")


class Library:
    """As much of the durable library as ``Replay`` sees, over no database."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.queued: list[str] = []
        self.engine = sa.create_engine("sqlite:////no/such/folder/q.db")
        outputs = sa.Table("o", sa.MetaData(), sa.Column("function_id"), sa.Column("workflow_uuid"))
        self.tables = SimpleNamespace(operation_outputs=outputs)

    def start_queued_workflows(self, queue: str) -> tuple[list[str], None]:
        return self.queued, None

    def check_operation_execution(self, workflow_id: str, function_id: int, function_name: str) -> str:
        self.asked.append(f"{workflow_id} {function_name}")
        return "kept"


def test_whoever_cannot_tell_looks_up() -> None:
    replay, library = Replay(), Library()
    replay.stand_before(library)
    assert library.check_operation_execution("w", 1, "step") == "kept", "it does not run here"
    replay.is_first("w", "claim")
    replay.is_first("x", "claim")
    with replay.of("w", "claim"), replay.of("x", "another"), replay.of("y", None):
        assert library.check_operation_execution("w", 1, "step") is None
        assert library.check_operation_execution("w", 2, "DBOS.sleep") == "kept", "the library's own are asked"
        assert library.check_operation_execution("x", 1, "step") == "kept", "the database is away"
        assert library.check_operation_execution("y", 1, "step") == "kept"
    assert library.check_operation_execution("w", 1, "step") == "kept", "it ended"
    assert library.asked == ["w step", "w DBOS.sleep", "x step", "y step", "w step"]

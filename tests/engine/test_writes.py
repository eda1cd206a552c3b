"""What is written for the library is written under its claim, and says the same thing twice, never another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from dbos._error import DBOSStepNondeterminismError, DBOSWorkflowConflictIDError

from quell.engine.writes import Writes
from tests.engine.works import Engine, did, engine, status_of

pytestmark = pytest.mark.anyio


def result(workflow_id: str, number: int, output: str) -> dict[str, Any]:
    return {
        "workflow_uuid": workflow_id, "function_id": number, "function_name": "step", "output": output, "error": None,
        "serialization": "quell_json", "child_workflow_id": None, "started_at_epoch_ms": 1,
    }  # fmt: skip


def kept(here: Engine, number: int) -> list[Any]:
    query = sa.text("select output from operation_outputs where function_id = :number")
    return list(here.database.read_now(lambda c: c.execute(query, {"number": number}).scalars().all()))


async def at_the_gate(here: Engine, folder: Path) -> tuple[Writes, Callable[[Any], Any], str]:
    """A workflow that is claimed and does nothing at the moment."""
    await here.start("gated", "w")
    await did(folder, "first", "gate")
    claim = here.durable._claimed.here()["w"]
    assert claim is not None
    return Writes(here.durable._dbos._sys_db), here.database.write_now, claim


async def test_an_answer_is_kept_once_and_under_the_claim(tmp_path: Path) -> None:
    async with engine(str(tmp_path / "q.db"), tmp_path, "one") as here:
        writes, write, claim = await at_the_gate(here, tmp_path)
        write(writes.record_operation_result(result("w", 90, "1"), owner_xid=claim, completed_at_epoch_ms=5))
        write(writes.record_operation_result(result("w", 90, "1"), owner_xid=claim, completed_at_epoch_ms=5))
        with pytest.raises(DBOSStepNondeterminismError):
            write(writes.record_operation_result(result("w", 90, "2"), owner_xid=claim, completed_at_epoch_ms=6))
        with pytest.raises(DBOSWorkflowConflictIDError):
            write(writes.record_operation_result(result("w", 91, "1"), owner_xid="somebody else's"))
        assert (kept(here, 90), kept(here, 91)) == (["1"], [])


async def test_only_whose_it_is_ends_it_and_only_once(tmp_path: Path) -> None:
    async with engine(str(tmp_path / "q.db"), tmp_path, "one") as here:
        writes, write, claim = await at_the_gate(here, tmp_path)
        assert not write(writes.update_workflow_outcome("w", "SUCCESS", output="1", owner_xid="somebody else's"))
        assert status_of(here.database, "w") == "PENDING"
        assert write(writes.update_workflow_outcome("w", "SUCCESS", output="1", owner_xid=claim))
        assert not write(writes.update_workflow_outcome("w", "ERROR", error="2", owner_xid=claim))
        assert status_of(here.database, "w") == "SUCCESS"
        query = sa.text("select output, error from workflow_output where workflow_uuid = 'w'")
        assert here.database.read_now(lambda c: tuple(c.execute(query).one())) == ("1", None)


async def test_a_child_and_its_parents_step_are_there_together_or_not_at_all(tmp_path: Path) -> None:
    async with engine(str(tmp_path / "q.db"), tmp_path, "one") as here:
        writes, write, claim = await at_the_gate(here, tmp_path)
        library = here.durable._dbos._sys_db
        (status,) = library.get_workflow_statuses(["w"])

        def begun(child: str, owner: str) -> Any:
            return writes.init_child_workflow(
                {**status, "workflow_uuid": child, "parent_workflow_id": "w"}, creator_xid=f"of {child}",
                parent_workflow_id="w", parent_function_id=90, function_name="gated", started_at_epoch_ms=1,
                parent_owner_xid=owner,
            )  # fmt: skip

        with pytest.raises(DBOSWorkflowConflictIDError):
            write(begun("c", "somebody else's"))
        assert (status_of(here.database, "c"), kept(here, 90)) == (None, [])
        assert write(begun("c", claim)) == ("PENDING", True)
        assert write(begun("c", claim)) == ("PENDING", True), "the same again, as after an answer that was lost"
        with pytest.raises(DBOSStepNondeterminismError):
            write(begun("d", claim))
        assert (status_of(here.database, "c"), status_of(here.database, "d"), kept(here, 90)) == (
            "PENDING",
            None,
            [None],
        )
        write(writes.update_workflow_outcome("c", "SUCCESS", owner_xid="of c"))


async def test_nobody_who_is_no_workflow_hears_of_a_child(tmp_path: Path) -> None:
    async with engine(str(tmp_path / "q.db"), tmp_path, "one") as here:
        writes = Writes(here.durable._dbos._sys_db)
        assert writes.record_get_result("c", "1", None, "quell_json", started_at_epoch_ms=1) is None

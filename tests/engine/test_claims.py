"""What runs here and what only the database thinks so: work that was lost goes on, work that goes on is left alone."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa

from quell.engine.claims import Claims, GivenBack
from tests.engine.works import Engine, did, done, engine, status_of, until, waits

pytestmark = pytest.mark.anyio


async def picked_up(here: Engine, *workflows: str) -> None:
    """Look as the heartbeat does, until these are found."""
    found: set[str] = set()

    async def all_of_them() -> bool:
        found.update(await here.durable.pick_up())
        return found == set(workflows)

    await until(all_of_them, f"{workflows} are picked up")


async def test_what_ended_without_an_outcome_goes_on(url: str, tmp_path: Path) -> None:
    async with engine(url, tmp_path, "one") as here:
        await here.start("lost", "w")
        await until(lambda: ended(here, 1), "the end")
        assert status_of(here.database, "w") == "PENDING"
        (tmp_path / "go").touch()
        await picked_up(here, "w")
        await here.ended("w")
        assert done(tmp_path) == ["first", "last"], "what was kept is not done again"


async def ended(here: Engine, times: int) -> bool:
    return len(here.works.endings) == times


async def test_a_parent_whose_child_was_lost_goes_on_with_it(url: str, tmp_path: Path) -> None:
    async with engine(url, tmp_path, "one") as here:
        await here.start("parent", "p", "c")
        await until(lambda: ended(here, 2), "the end of both")
        (tmp_path / "go").touch()
        await picked_up(here, "p", "c")
        await here.ended("p")
        assert (done(tmp_path), status_of(here.database, "c")) == (["first", "last"], "SUCCESS")


async def test_what_runs_for_long_is_left_alone(url: str, tmp_path: Path) -> None:
    async with engine(url, tmp_path, "one") as here:
        await here.start("gated", "w")
        await here.start("asks", "waits", 30.0)
        await did(tmp_path, *done(tmp_path))
        await until(lambda: at_the_gate(here), "the gate")
        for _ in range(10):
            assert await here.durable.pick_up() == []
        (tmp_path / "go").touch()
        await here.ended("w")
        assert await here.durable.pick_up() == []
        assert here.works.most == 1
        assert sorted(line.split()[0] for line in done(tmp_path)) == ["asked", "first", "gate", "last"]


async def at_the_gate(here: Engine, count: int = 1) -> bool:
    return here.works.inside == count


async def test_what_is_claimed_and_late_does_not_begin_beside_the_next_claim(url: str, tmp_path: Path) -> None:
    """A thread that claimed a workflow and was held up: meanwhile it counts as lost, and runs under another claim."""
    async with engine(url, tmp_path, "one") as here:
        await here.database.write(lambda c: here.durable.start_in(c, "gated", "w", None))
        claimed = here.durable._started.take()
        await picked_up(here, "w")
        await did(tmp_path, "first", "gate")
        await asyncio.to_thread(here.durable._begin_started, claimed)
        for _ in range(5):
            assert await here.durable.pick_up() == []
        (tmp_path / "go").touch()
        await here.ended("w")
        assert here.works.most == 1
        assert [line.split()[0] for line in done(tmp_path)] == ["first", "gate", "last"]


async def test_two_claims_of_one_workflow_follow_one_another() -> None:
    claims, order, go = Claims(), list[str](), asyncio.Event()

    async def run(claim: str) -> None:
        async with claims.held("w", claim):
            order.append(f"{claim} begins")
            await go.wait()
            order.append(f"{claim} ends")

    tasks = [asyncio.create_task(run(claim)) for claim in ("a", "b", "c")]
    async with claims.held("other", "a"):
        await until(lambda: asyncio.sleep(0, order), "the first one")
    go.set()
    await asyncio.gather(*tasks)
    assert [line.split()[1] for line in order] == ["begins", "ends"] * 3


async def test_only_what_was_idle_twice_under_one_claim_is_lost() -> None:
    claims = Claims()
    assert claims.lost({"w": "a", "x": "a"}, ()) == {}
    assert claims.lost({"w": "b", "x": "a"}, ()) == {"x": "a"}
    assert claims.lost({"w": "b"}, {"w"}) == {}
    assert claims.lost({"w": "b"}, ()) == {}
    async with claims.held("w", "b"):
        assert claims.lost({"w": "b"}, ()) == {}
    with pytest.raises(GivenBack):
        async with claims.held("x", "a"):
            pass
    async with claims.held("x", "b"):
        pass


async def test_what_was_taken_over_ends_here_and_its_next_claim_is_not_kept_waiting(url: str, tmp_path: Path) -> None:
    """After a silence: others put it back into the queue, and this very process claims it again. The old execution
    waits for a message that the new one will get."""
    async with engine(url, tmp_path, "one", poll_s=60.0) as here:
        await here.start("asks", "w", 600.0)
        await did(tmp_path, "asked")
        await waits(here.database, "w")  # before that, what it cannot keep would end it
        schema = "" if here.database.is_sqlite else "dbos."
        put_back = sa.text(
            f"update {schema}workflow_status set status = 'ENQUEUED', owner_xid = null where workflow_uuid = 'w'"
        )
        await here.database.write(lambda c: c.execute(put_back))
        await here.durable.kick_recovered()
        assert here.works.endings == [], "both are here"

        async def only_one() -> bool:
            await here.durable.pick_up()
            return here.works.endings == ["CancelledError"]

        await until(only_one, "the old one ends")
        await here.durable.send("w", "stop", topic="answer", key="k")
        await here.ended("w")
        assert here.works.endings == ["CancelledError", ""]


async def test_what_is_in_the_middle_of_an_effect_is_not_cut_off(url: str, tmp_path: Path) -> None:
    async with engine(url, tmp_path, "one", poll_s=60.0) as here:
        await here.start("gated", "acts")
        await here.start("gated", "looks")
        await until(lambda: at_the_gate(here, 2), "both are at the gate")
        here.durable.in_flight = lambda workflow: workflow == "acts"
        schema = "" if here.database.is_sqlite else "dbos."
        taken = sa.text(f"update {schema}workflow_status set executor_id = 'two', owner_xid = 'theirs'")
        await here.database.write(lambda c: c.execute(taken))

        async def one_is_over() -> bool:
            await here.durable.pick_up()
            return bool(here.works.endings)

        await until(one_is_over, "the one that only looks ends")
        await here.durable.pick_up()
        assert here.works.endings == ["CancelledError"]
        assert here.works.inside == 1, "the other one is still at it"

"""What runs here and what only the database thinks so: work that was lost goes on, work that goes on is left alone."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from quell.engine.claims import Claims, GivenBack
from tests.engine.works import Engine, did, done, engine, status_of, until

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


async def at_the_gate(here: Engine) -> bool:
    return here.works.inside == 1


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

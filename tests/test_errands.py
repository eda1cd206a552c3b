"""What nobody waits for: it is said when it fails, looked at again, and ends when it is stopped."""

from __future__ import annotations

import asyncio

import pytest

from quell.errands import Errands, Kick, again
from tests.app import eventually

pytestmark = pytest.mark.anyio


async def test_what_goes_wrong_is_said_and_ends_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    looks: list[int] = []

    async def look() -> None:
        looks.append(len(looks))
        if len(looks) == 2:
            raise ValueError("the second")

    async def often() -> bool:
        return len(looks) > 3

    errands = Errands()
    errands.start(again(look, 0.001, "look_failed"))
    await eventually(often, "it goes on after the second")
    await errands.stop()
    assert "look_failed" in capsys.readouterr().out
    seen = len(looks)
    await asyncio.sleep(0)
    assert len(looks) == seen, "stopped, it looks no more"


async def test_the_first_look_may_come_sooner() -> None:
    looked = asyncio.Event()

    async def look() -> None:
        looked.set()

    errands = Errands()
    errands.start(again(look, 3600.0, "failed", first_s=0.0))
    await asyncio.wait_for(looked.wait(), 5)
    await errands.stop()


async def test_however_many_ask_at_once_it_is_done_once() -> None:
    done: list[int] = []

    async def work() -> None:
        done.append(1)

    async def is_done() -> bool:
        return bool(done)

    errands = Errands()
    kick = Kick(errands, work)
    for _ in range(5):
        kick()
    await eventually(is_done, "it is done")
    await errands.stop()
    assert done == [1]


async def test_stopped_in_the_moment_in_which_it_would_look_it_ends() -> None:
    sooner, looks = asyncio.Event(), list[int]()

    async def look() -> None:
        sooner.clear()
        looks.append(1)

    task = asyncio.create_task(again(look, 3600.0, "failed", sooner=sooner))
    for turn in range(3):
        sooner.set()
        while len(looks) <= turn:
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    sooner.set()
    await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=5)
    assert done, "it looks on"
    assert task.cancelled()

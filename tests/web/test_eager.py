"""Work that need not wait gets no timer; work that must wait goes on as if nobody had begun it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from quell.web.eager import within

pytestmark = pytest.mark.anyio


async def test_what_need_not_wait_is_done_without_a_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(seconds: float) -> Any:
        raise AssertionError("a timer")

    monkeypatch.setattr(asyncio, "timeout", none)

    async def work() -> int:
        return 7

    assert await within(work(), 1.0) == 7


async def test_what_waits_goes_on_with_what_comes() -> None:
    first, second = asyncio.get_running_loop().create_future(), asyncio.get_running_loop().create_future()

    async def work() -> tuple[int, int]:
        return await first, await second

    asked = asyncio.create_task(within(work(), 10.0))
    await asyncio.sleep(0)
    first.set_result(1)
    await asyncio.sleep(0)
    second.set_result(2)
    assert await asked == (1, 2)


@pytest.mark.parametrize("waits", [False, True])
async def test_what_it_raises_is_raised(waits: bool) -> None:
    async def work() -> None:
        if waits:
            await asyncio.sleep(0)
        raise KeyError("a fault")

    with pytest.raises(KeyError, match="a fault"):
        await within(work(), 10.0)


async def test_what_does_not_end_in_time_is_ended() -> None:
    ended = list[str]()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("it")

    with pytest.raises(TimeoutError):
        await within(work(), 0.01)
    assert ended == ["it"]


async def test_whoever_waits_can_be_cancelled_and_what_it_catches_goes_on() -> None:
    caught = list[str]()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            caught.append("cancelled")
            await asyncio.sleep(0)
            caught.append("tidied")
            raise

    asked = asyncio.create_task(within(work(), 10.0))
    await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert caught == ["cancelled", "tidied"]

"""A stop waits for what runs, and begins nothing new."""

from __future__ import annotations

import asyncio

import pytest

from quell.respond.inflight import InFlight

pytestmark = pytest.mark.anyio


async def test_closing_waits_for_what_runs() -> None:
    flight, go, seen = InFlight(), asyncio.Event(), []

    async def act() -> None:
        async with flight.acting("one"):
            await go.wait()
            seen.append("ended")

    task = asyncio.create_task(act())
    await asyncio.sleep(0)
    assert await flight.close(0.01) is False
    go.set()
    assert await flight.close(5.0) is True
    assert seen == ["ended"]
    await task


async def test_nothing_begins_once_closed() -> None:
    flight, seen = InFlight(), []
    assert await flight.close(0.01) is True

    async def act() -> None:
        async with flight.acting("late"):
            seen.append("began")

    task = asyncio.create_task(act())
    done, _ = await asyncio.wait({task}, timeout=0.05)
    assert (done, seen) == (set(), [])
    task.cancel()

"""Blocking work beside the loop: it is waited for as long as said, what it raises is raised, left behind it harms nobody."""

from __future__ import annotations

import asyncio
import threading

import pytest

from quell.engine.aside import Loose, aside


@pytest.mark.anyio
async def test_what_ends_in_time_is_done() -> None:
    done = threading.Event()
    assert await aside(done.set, 10)
    assert done.is_set()


@pytest.mark.anyio
async def test_what_it_raises_is_raised() -> None:
    def breaks() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await aside(breaks, 10)


@pytest.mark.anyio
async def test_what_hangs_is_left_behind_in_a_thread_that_keeps_nobody_alive() -> None:
    go, threads = threading.Event(), list[threading.Thread]()

    def hangs() -> None:
        threads.append(threading.current_thread())
        go.wait(60)

    assert not await aside(hangs, 0.05)
    assert threads[0].is_alive()
    assert threads[0].daemon
    go.set()
    threads[0].join(10)
    assert not threads[0].is_alive()


def test_the_end_of_a_loop_does_not_wait_for_a_call_that_hangs() -> None:
    begun, go, ended = threading.Event(), threading.Event(), threading.Event()

    def hangs() -> None:
        begun.set()
        go.wait(10)
        ended.set()

    async def leave() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(Loose())
        call = loop.run_in_executor(None, hangs)
        await aside(lambda: begun.wait(10), 20)
        call.cancel()

    asyncio.run(leave())
    assert not ended.is_set()
    go.set()

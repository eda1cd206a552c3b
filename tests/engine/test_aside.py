"""Blocking work beside the loop: it is waited for as long as said, what it raises is raised, left behind it harms nobody."""

from __future__ import annotations

import threading

import pytest

from quell.engine.aside import aside

pytestmark = pytest.mark.anyio


async def test_what_ends_in_time_is_done() -> None:
    done = threading.Event()
    assert await aside(done.set, 10)
    assert done.is_set()


async def test_what_it_raises_is_raised() -> None:
    def breaks() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await aside(breaks, 10)


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

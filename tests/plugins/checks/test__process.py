"""Runs a program for a check: what it opens it closes once."""

from __future__ import annotations

import asyncio
import os
import threading

import uvloop

from quell.plugins.checks._process import run

RUNS, AT_ONCE, THREADS = 200, 20, 6


def test_no_file_of_another_thread_is_closed() -> None:
    """Connections are opened by other threads all the time: a number that is closed twice would be one of theirs."""
    over, wrong = threading.Event(), list[str]()

    def open_and_close() -> None:
        while not over.is_set():
            try:
                reader, writer = os.pipe()
                os.write(writer, b"mine")
                if os.read(reader, 4) != b"mine":
                    wrong.append("it read what somebody else wrote")
                os.close(writer)
                os.close(reader)
            except OSError as error:
                wrong.append(str(error))

    async def look() -> None:
        for _ in range(RUNS // AT_ONCE):
            await asyncio.gather(*(run(["true"], max_bytes=1000) for _ in range(AT_ONCE)))

    threads = [threading.Thread(target=open_and_close) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    try:
        uvloop.run(look())
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert wrong == []

"""Waiting for a message: however many wait, one look finds those whose message is there."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from quell.engine import waits as module
from quell.engine.waits import Waits
from tests.engine.works import Engine, did, engine

pytestmark = pytest.mark.anyio


async def tell(here: Engine, name: str, topic: str, message: str) -> None:
    """As another process does, which cannot wake a wait of this one."""
    client = here.durable._client
    assert client is not None
    await asyncio.to_thread(client.send, name, message, topic, message)


def of_five(here: Engine) -> Waits:
    """As if five workflows waited for what comes ``later``, which nobody takes."""
    waits = Waits()
    waits._library = here.durable._dbos._sys_db
    waits._everybody = lambda: [(f"w{n}::later", (f"w{n}", "later", None), object()) for n in range(5)]
    return waits


def count(here: Engine) -> list[str]:
    """The statements about messages that this thread asks from now on."""
    asked, mine = list[str](), threading.get_ident()

    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if "notifications" in statement and threading.get_ident() == mine:
            asked.append(statement)

    sa.event.listen(here.database.steps, "before_cursor_execute", note)
    return asked


async def test_only_those_with_a_message_are_looked_at(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with engine(url, tmp_path, "one") as here:
        for number in range(5):
            await here.start("asks", f"w{number}", 600.0)
        waits, asked = of_five(here), count(here)
        assert waits.told() == []
        assert len(asked) == 1
        for name, topic in (("w1", "later"), ("w4", "later"), ("w2", "another")):
            await tell(here, name, topic, "hello")
        monkeypatch.setattr(module, "AT_ONCE", 2)
        assert [payload for payload, _, _ in waits.told()] == ["w1::later", "w4::later"]
        assert len(asked) == 4, "five waits, two at once"


async def test_who_does_not_wait_asks_nothing(url: str, tmp_path: Path) -> None:
    async with engine(url, tmp_path, "one") as here:
        asked = count(here)
        assert here.durable._waits.told() == []
        assert asked == []


async def test_what_another_process_sent_is_found(url: str, tmp_path: Path) -> None:
    async with engine(url, tmp_path, "one") as here:
        for name in ("w1", "w2"):
            await here.start("asks", name, 600.0)
        await did(tmp_path, "asked", "asked")
        await tell(here, "w1", "answer", "hello")
        await did(tmp_path, "asked", "asked", "got hello")
        await tell(here, "w1", "answer", "stop")
        await here.ended("w1")
        assert await here.durable.status("w2") == "PENDING"

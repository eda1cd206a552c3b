"""What a transaction started begins once it is on disk: at once, never twice, whoever else starts the same."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa

from quell.engine import started
from quell.engine.started import Claim, Started
from tests.engine.works import Engine, did, done, engine, status_of

pytestmark = pytest.mark.anyio
NEVER_S = 3600.0
"""Nothing polls within the test's time."""


async def gone_through(here: Engine, folder: Path, workflow_id: str = "w") -> None:
    (folder / "go").touch()
    await here.ended(workflow_id)
    assert [line.split()[0] for line in done(folder)] == ["first", "gate", "last"]
    assert here.works.endings == [""]


async def test_a_call_that_comes_before_the_commit_takes_nothing_away(url: str, tmp_path: Path) -> None:
    """Somebody else's call in that very moment: what it took too early is there for ours."""
    async with engine(url, tmp_path, "one", poll_s=NEVER_S) as here:
        loop = asyncio.get_running_loop()

        def start(connection: sa.Connection) -> None:
            here.durable.start_in(connection, "gated", "w", None)
            asyncio.run_coroutine_threadsafe(here.durable.kick(), loop).result()

        await asyncio.to_thread(here.database.write_now, start)
        assert status_of(here.database, "w") == "PENDING"
        assert done(tmp_path) == []
        await here.durable.kick()
        await gone_through(here, tmp_path)


async def test_the_next_beat_begins_what_nobody_called_for(url: str, tmp_path: Path) -> None:
    """Whoever started it was cancelled right after its commit."""
    async with engine(url, tmp_path, "one", poll_s=NEVER_S) as here:
        await here.database.write(lambda c: here.durable.start_in(c, "gated", "w", None))
        await here.durable.pick_up()
        await gone_through(here, tmp_path)


async def test_what_was_committed_and_not_begun_is_found_again(url: str, tmp_path: Path) -> None:
    async with engine(url, tmp_path, "one") as here:
        await here.database.write(lambda c: here.durable.start_in(c, "gated", "w", None))
    async with engine(url, tmp_path, "two") as here:
        assert here.durable.recover("one") == 1
        await gone_through(here, tmp_path)


async def test_ours_was_rolled_back_and_theirs_was_not(url: str, tmp_path: Path) -> None:
    """Two processes start the same: only who committed runs it."""
    async with engine(url, tmp_path, "one", poll_s=NEVER_S) as here:

        def start(connection: sa.Connection) -> None:
            here.durable.start_in(connection, "gated", "w", None)
            raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            await here.database.write(start)
        schema = "" if here.database.is_sqlite else "dbos."
        theirs = sa.text(f"update {schema}workflow_status set executor_id = 'two'")
        await here.database.write(lambda c: here.durable.start_in(c, "gated", "w", None))
        ours = here.durable._started.take()
        await here.database.write(lambda c: c.execute(theirs))
        here.durable._started.put_back(ours)
        await here.durable.kick()
        assert (done(tmp_path), status_of(here.database, "w")) == ([], "PENDING")
        here.durable.recover("two")
        await here.durable.kick_recovered()
        await gone_through(here, tmp_path)


async def test_while_it_ends_nothing_is_claimed(url: str, tmp_path: Path) -> None:
    """It stays in the queue, for whoever looks next."""
    async with engine(url, tmp_path, "one") as here:
        here.durable._closing = True
        await here.database.write(lambda c: here.durable.start_in(c, "gated", "w", None))
        here.durable._closing = False
        await did(tmp_path, "first", "gate")
        await gone_through(here, tmp_path)


def test_what_was_rolled_back_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting, old, new = Started("one"), Claim("a"), Claim("b")
    waiting.put_back({"old": old, "again": old})
    waiting.put_back({"again": new})
    assert waiting.take() == {"old": old, "again": old}, "the later claim is not overwritten by an earlier one"
    assert waiting.take() == {}
    monkeypatch.setattr(started, "FORGOTTEN_AFTER_S", 0.0)
    waiting.put_back({"old": old})
    assert waiting.take() == {}

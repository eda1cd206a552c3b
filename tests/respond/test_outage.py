"""A database that cannot be written for a while, as during a failover: runs wait for it, and alerts are asked for again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from quell.errors import Unavailable
from quell.incident.incident import Status
from tests.app import do, eventually, house, runbook
from tests.servers.postgres import Postgres

pytestmark = pytest.mark.anyio

FIX = "- {condition: state.critical, then: [fix]}"


@contextmanager
def read_only(server: Postgres, name: str) -> Iterator[None]:
    """Sessions end, and what comes back can only read."""
    end = "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s and pid <> pg_backend_pid()"
    server.execute(f"alter database {name} set default_transaction_read_only = on")
    server.execute(end, name)
    try:
        yield
    finally:
        server.execute(f"alter database {name} set default_transaction_read_only = off")
        server.execute(end, name)


async def test_a_failover_while_an_action_is_carried_out(
    tmp_path: Path, postgres_server: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    """Its outcome is known all the time, and on disk once there is one again."""
    book = runbook(FIX, f"- {{id: fix, type: automated, action: {do('fix', 0, 1)}}}")
    with postgres_server.fresh_database() as name:
        async with house(tmp_path, book, database=postgres_server.url(name)) as home:
            incident = await home.fire()
            await eventually(lambda: asyncio.sleep(0, home.effects), "the action")
            with read_only(postgres_server, name):
                await eventually(lambda: asyncio.sleep(0, "waits for the database" in caplog.text), "a wait for it")
                with pytest.raises(Unavailable):
                    await home.fire("Other")
            now = await home.over(incident)
            assert (now.status, home.effects) == (Status.RESOLVED, ["fix"])
            assert [deed.result for deed in now.deeds.values()] == ["done"]

"""The durable library and a database that cannot take part for a while: nothing is lost, failed or done twice at once."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.engine.works import did, done, engine, until
from tests.servers.postgres import Postgres

pytestmark = pytest.mark.anyio


def read_only(server: Postgres, name: str, *, on: bool) -> None:
    """As a failover is seen from here: sessions end, and for a while nothing can be written."""
    server.execute(f"alter database {name} set default_transaction_read_only = {'on' if on else 'off'}")
    ended = "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s and pid <> pg_backend_pid()"
    server.execute(ended, name)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """With what the library says, which keeps it to itself."""
    logging.getLogger("dbos").addHandler(caplog.handler)
    yield caplog
    logging.getLogger("dbos").removeHandler(caplog.handler)


async def refused(log: pytest.LogCaptureFixture, what: str, times: int = 2) -> None:
    """Until the library has been told so that often, and asks again."""

    async def often() -> bool:
        return len(re.findall(what, log.text)) >= times

    await until(often, f"the library meets {what!r}")


async def test_a_failover_ends_no_run(postgres_server: Postgres, tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    """The step ends while nothing can be written: its answer is kept once something can."""
    with postgres_server.fresh_database() as name:
        async with engine(postgres_server.url(name), tmp_path, "one") as here:
            await here.start("gated", "w")
            await did(tmp_path, "first", "gate")
            read_only(postgres_server, name, on=True)
            (tmp_path / "go").touch()
            await refused(log, "connection failed: .*read-only transaction")
            read_only(postgres_server, name, on=False)
            await here.ended("w")
            assert [line.split()[0] for line in done(tmp_path)] == ["first", "gate", "last"]
            assert here.works.endings == [""]


async def test_a_lock_that_is_held_for_long_ends_no_run(
    postgres_server: Postgres, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    with postgres_server.fresh_database() as name:
        async with engine(postgres_server.url(name), tmp_path, "one") as here:

            @sa.event.listens_for(here.database.steps, "checkout")
            def _hurry(connection: sa.engine.interfaces.DBAPIConnection, record: object, proxy: object) -> None:
                connection.cursor().execute("set lock_timeout = '100ms'")
                connection.commit()

            await here.start("gated", "w")
            await did(tmp_path, "first", "gate")
            with postgres_server.connect(name) as other, other.transaction():
                other.execute("lock table dbos.operation_outputs in access exclusive mode")
                (tmp_path / "go").touch()
                await refused(log, "connection failed: .*lock timeout")
            await here.ended("w")
            assert [line.split()[0] for line in done(tmp_path)] == ["first", "gate", "last"]
            assert here.works.endings == [""]

"""What a process does beside answering: who is silent is replaced as soon as his lease has run out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from quell.app import App
from quell.engine import liveness
from quell.engine.tables import executors
from quell.settings import EngineSettings
from quell.store.database import Database, now_us
from quell.store.migrate import migrate
from tests.app import do, eventually, runbook, settings_of, write

pytestmark = pytest.mark.anyio

SILENT = "elsewhere-1-00000000"
BOOK = runbook("- {condition: state.critical, then: [fix]}", f"- {{id: fix, type: automated, action: {do('fix', 0)}}}")


@asynccontextmanager
async def with_silent(folder: Path, lease_s: float) -> AsyncIterator[App]:
    """An App whose own next beat is far away, over a database in which somebody, elsewhere, is silent."""
    write(folder, BOOK)
    settings = settings_of(folder)
    database = Database(settings.database)
    database.prepare(migrate)
    await database.write(lambda c: liveness.enter(c, SILENT, "1", now_us(), int(lease_s * 1_000_000)))
    # Of another machine, or it would be known that its process, this one, is there.
    await database.write(lambda c: c.execute(sa.update(executors).values(host="elsewhere")))
    database.close()
    app = App(settings.model_copy(update={"engine": EngineSettings(lease=3600.0)}))
    await app.start()
    try:
        yield app
    finally:
        await app.stop()


async def test_who_is_silent_is_replaced_when_the_lease_runs_out(tmp_path: Path) -> None:
    async with with_silent(tmp_path, 2.0) as app:

        async def replaced() -> object:
            ended = sa.select(executors.c.ended_at).where(executors.c.id == SILENT)
            return await app.database.read(lambda c: c.execute(ended).scalar())

        await eventually(replaced, "somebody goes on with its work")

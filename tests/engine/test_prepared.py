"""A statement that is compiled once answers as the one that it was made of."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from quell.engine.prepared import Prepared
from tests.engine.works import did, engine

pytestmark = pytest.mark.anyio


async def test_it_answers_as_the_statement_does(url: str, tmp_path: Path) -> None:
    async with engine(url, tmp_path, "one") as here:
        await here.start("gated", "w")
        await did(tmp_path, "first", "gate")
        await here.start("gated", "x")
        await did(tmp_path, "first", "gate", "first", "gate")
        library = here.durable._dbos._sys_db
        table = library.tables.workflow_status
        query = sa.select(table.c.workflow_uuid, table.c.priority).where(
            table.c.status == "PENDING", table.c.workflow_uuid == sa.bindparam("one")
        )
        prepared = Prepared(query, library.engine)
        with library.engine.connect() as connection:
            for name in ("w", "x", "nobody"):
                mine, its = prepared.run(connection, {"one": name}), connection.execute(query, {"one": name})
                assert [tuple(row) for row in mine] == [tuple(row) for row in its]


async def test_only_what_an_insert_is_given_is_in_it(url: str, tmp_path: Path) -> None:
    async with engine(url, tmp_path, "one") as here:
        library = here.durable._dbos._sys_db
        table = library.tables.workflow_input
        insert = Prepared(sa.insert(table), library.engine, ["workflow_uuid", "inputs"])
        with library.engine.begin() as connection:
            insert.run(connection, {"workflow_uuid": "w", "inputs": "[]"})
            kept = sa.select(table.c.inputs).where(table.c.workflow_uuid == "w")
            assert connection.execute(kept).scalar_one() == "[]"

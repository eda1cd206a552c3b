"""What is put in bulk is there as SQLAlchemy would have put it."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from quell.store.bulk import Bulk
from quell.store.database import Database
from quell.store.schema import inbox, letters

ROWS: dict[str, tuple[sa.Table, list[dict[str, Any]]]] = {
    "letters": (
        letters,
        [
            {"tenant": "t", "source": "ü'\"%s?:x", "size": number, "received_at": 2**52 + number, "signature": "",
             "body": b"\0\xff" * number}
            for number in range(5)
        ],
    ),
    "inbox": (
        inbox,
        [
            {"tenant": "t", "environment": "", "region": "", "source": "s", "priority": 1, "alert_id": f"a{number}",
             "name": "%(name)s", "status": "firing", "received_at": number, "signature": "", "alert": "{}", "times": 1}
            for number in range(3)
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_rows_are_there_as_they_were_given(database: Database, name: str) -> None:
    table, rows = ROWS[name]
    with database.engine.begin() as connection:
        Bulk(table, "id").put(connection, rows)
        connection.execute(sa.insert(table), rows)
        found = [dict(row) for row in connection.execute(sa.select(table).order_by(table.c.id)).mappings()]
    without = [{key: value for key, value in row.items() if key != "id"} for row in found]
    assert without == rows + rows


def test_a_row_that_lacks_a_column_is_refused(database: Database) -> None:
    with database.engine.begin() as connection, pytest.raises((KeyError, sa.exc.StatementError)):
        Bulk(letters, "id").put(connection, [{"tenant": "t"}])

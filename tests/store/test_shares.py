"""Whoever has something waiting is found, however much of the same waits beside it."""

from __future__ import annotations

from typing import Any

from quell.store import inbox
from quell.store.database import Database
from quell.store.schema import inbox as table
from quell.store.shares import sources_of


def word(tenant: str, source: str) -> dict[str, Any]:
    return {"tenant": tenant, "environment": "", "region": "", "source": source, "priority": 1, "alert_id": "a",
            "name": "A", "status": "firing", "received_at": 1, "signature": "", "alert": "{}", "times": 1}  # fmt: skip


def test_each_tenant_and_source_once(database: Database) -> None:
    with database.engine.begin() as connection:
        assert sources_of(connection, table) == []
        inbox.put(connection, [word("b", "am")] * 50 + [word("a", "pd"), word("a", "am"), word("b", "pd")])
        assert sources_of(connection, table) == [("a", "am"), ("a", "pd"), ("b", "am"), ("b", "pd")]

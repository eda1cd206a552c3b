"""What waits in the inbox: whose turn it is, and in which order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from quell.store import inbox
from quell.store.database import Database


@pytest.fixture
def connection(database: Database) -> Iterator[sa.Connection]:
    with database.engine.begin() as connection:
        yield connection


def word(name: str, *, source: str = "am", priority: int = 3, status: str = "firing") -> dict[str, Any]:
    return {"tenant": "default", "environment": "", "region": "", "source": source, "priority": priority,
            "alert_id": f"{source}.{name}", "name": name, "status": status, "received_at": 1, "signature": "",
            "alert": "{}", "times": 1}  # fmt: skip


def names(rows: list[Any]) -> list[str]:
    return [f"{row['alert_id']} {row['status']}" for row in rows]


def test_the_most_severe_is_next_with_every_word_of_it_in_order(connection: sa.Connection) -> None:
    inbox.put(connection, [word(f"low{n}") for n in range(8)])
    inbox.put(connection, [word("late"), word("late", status="resolved"), word("late", priority=1)])
    assert names(inbox.next_of(connection, 5))[:3] == ["am.late firing", "am.late resolved", "am.late firing"]


def test_a_flood_of_one_source_leaves_the_others_their_share(connection: sa.Connection) -> None:
    inbox.put(connection, [word(f"n{n}", source="noisy", priority=1) for n in range(50)])
    inbox.put(connection, [word("one", source="quiet", priority=4)])
    found = names(inbox.next_of(connection, 20))
    assert "quiet.one firing" in found
    assert len(found) == 11


def test_what_was_looked_at_is_gone(connection: sa.Connection) -> None:
    assert inbox.is_empty(connection)
    inbox.put(connection, [word("a"), word("b"), word("c", source="other")])
    assert inbox.waiting(connection) == {("default", "am"): 2, ("default", "other"): 1}
    inbox.drop(connection, [row["id"] for row in inbox.next_of(connection, 10) if row["name"] != "b"])
    assert names(inbox.next_of(connection, 10)) == ["am.b firing"]
    assert not inbox.is_empty(connection)
    assert inbox.next_of(connection, 10)[0]["alert"] == "{}"

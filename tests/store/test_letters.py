"""Letters: what waits to be read, in its order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from quell.store import letters
from quell.store.database import Database


@pytest.fixture
def connection(database: Database) -> Iterator[sa.Connection]:
    with database.engine.begin() as connection:
        yield connection


def letter(body: bytes, size: int = 1, source: str = "am") -> dict[str, Any]:
    return {"tenant": "default", "source": source, "size": size, "received_at": 5, "signature": "s", "body": body}


def test_a_body_is_kept_byte_by_byte(connection: sa.Connection) -> None:
    body = bytes(range(256))
    letters.put(connection, [letter(body, 3)])
    (row,) = letters.next_of(connection, 1)
    assert bytes(row["body"]) == body
    assert (row["size"], row["received_at"], row["signature"]) == (3, 5, "s")


def test_the_oldest_are_next_about_as_many_as_are_asked_for(connection: sa.Connection) -> None:
    letters.put(connection, [letter(b"a", 4), letter(b"b", 4), letter(b"c", 4)])
    assert [bytes(row["body"]) for row in letters.next_of(connection, 1)] == [b"a"]
    assert [bytes(row["body"]) for row in letters.next_of(connection, 5)] == [b"a", b"b"]
    letters.drop(connection, [row["id"] for row in letters.next_of(connection, 5)])
    assert [bytes(row["body"]) for row in letters.next_of(connection, 5)] == [b"c"]


def test_how_many_alerts_wait(connection: sa.Connection) -> None:
    assert letters.is_empty(connection)
    assert letters.waiting(connection) == {}
    letters.put(connection, [letter(b"a", 4), letter(b"b", 5), letter(b"c", 1, "other")])
    assert letters.waiting(connection) == {("default", "am"): 9, ("default", "other"): 1}
    assert not letters.is_empty(connection)

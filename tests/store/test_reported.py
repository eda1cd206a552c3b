"""What is asked about alerts: those that are stored and those that wait, found by every name that people have."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from quell.incident.alert import Alert, AlertStatus
from quell.store import inbox, reported
from quell.store.database import Database
from quell.store.events import to_us
from quell.store.schema import alerts

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def connection(database: Database) -> Iterator[sa.Connection]:
    with database.engine.begin() as connection:
        yield connection


def alert(name: str, fingerprint: str) -> Alert:
    return Alert(source="am", name=name, status=AlertStatus.FIRING, fingerprint=fingerprint, received_at=AT)


def stored(connection: sa.Connection, name: str, fingerprint: str, *, minutes: int = 0, **more: Any) -> None:
    at = to_us(AT + timedelta(minutes=minutes))
    row = {"id": f"id.{fingerprint}", "tenant": "default", "source": "am", "fingerprint": fingerprint, "name": name,
           "status": "firing", "first_at": at, "last_at": at, "changed_at": at, "count": 1, "schema_version": 1,
           "alert": alert(name, fingerprint).model_dump_json(), **more}  # fmt: skip
    connection.execute(sa.insert(alerts).values(row))


def waits(connection: sa.Connection, name: str, fingerprint: str, *, minutes: int = 0, status: str = "firing") -> None:
    inbox.put(connection, [
        {"tenant": "default", "environment": "", "region": "", "source": "am", "priority": 3, "name": name,
         "alert_id": f"id.{fingerprint}", "status": status, "received_at": to_us(AT + timedelta(minutes=minutes)),
         "signature": "", "alert": alert(name, fingerprint).model_dump_json(), "times": 1}
    ])  # fmt: skip


def names(rows: list[dict[str, Any]]) -> list[str]:
    return [row["name"] for row in rows]


def test_the_newest_first_those_that_wait_among_them(connection: sa.Connection) -> None:
    stored(connection, "Old", "a")
    stored(connection, "New", "b", minutes=9)
    waits(connection, "Waits", "c", minutes=5)
    assert names(reported.recent(connection, "default")) == ["New", "Waits", "Old"]
    assert names(reported.recent(connection, "default", 2)) == ["New", "Waits"]
    assert names(reported.recent(connection, "default", name="Old")) == ["Old"]
    assert names(reported.recent(connection, "another")) == []


def test_one_that_is_stored_and_waits_again_is_one(connection: sa.Connection) -> None:
    stored(connection, "Down", "a")
    for status in ("firing", "resolved"):
        waits(connection, "Down", "a", status=status)
        waits(connection, "Up", "b", status=status)
    assert [(row["name"], row["status"]) for row in reported.recent(connection, "default")] == [
        ("Up", "resolved"), ("Down", "firing"),
    ]  # fmt: skip
    assert reported.count(connection, "default") == 2
    assert (reported.count(connection, "default", "Up"), reported.count(connection, "default", "None")) == (1, 0)


def test_found_by_id_fingerprint_its_beginning_or_name(connection: sa.Connection) -> None:
    stored(connection, "Down", "abcdef01")
    stored(connection, "Down", "abcdef02")
    stored(connection, "abcdef01", "ffffffff")
    waits(connection, "Waits", "eeee0000")
    found = {name: [row["fingerprint"] for row in reported.find(connection, "default", name)]
             for name in ("id.abcdef01", "abcdef01", "abcdef", "abc", "Down", "Waits", "id.eeee0000", "gone")}  # fmt: skip
    assert found == {
        "id.abcdef01": ["abcdef01"], "abcdef01": ["abcdef01"], "abcdef": found["abcdef"], "abc": [],
        "Down": found["Down"], "Waits": ["eeee0000"], "id.eeee0000": ["eeee0000"], "gone": [],
    }  # fmt: skip
    assert set(found["abcdef"]) == set(found["Down"]) == {"abcdef01", "abcdef02"}


def test_they_are_counted_as_far_as_asked(connection: sa.Connection) -> None:
    for number in range(3):
        stored(connection, "Down", f"a{number}")
        waits(connection, "Down", f"b{number}")
    assert [reported.count(connection, "default", "Down", most) for most in (2, 4, 6, 9)] == [2, 4, 6, 6]
    assert reported.count(connection, "default", most=5) == 5


def test_of_a_name_the_newest_whatever_their_status(connection: sa.Connection) -> None:
    for number, status in enumerate(("firing", "resolved", "acknowledged", "resolved", "firing")):
        stored(connection, "Down", f"a{number}", minutes=number, status=status)
    stored(connection, "Up", "b", minutes=9)
    waits(connection, "Down", "c", minutes=2)
    asked = [row["fingerprint"] for row in reported.recent(connection, "default", 4, name="Down")]
    assert asked == ["a4", "a3", "c", "a2"]
    firing = reported.recent(connection, "default", name="Down", status="firing")
    assert [row["fingerprint"] for row in firing] == ["a4", "c", "a0"]


def test_those_that_begin_so_are_told_the_newest_first(connection: sa.Connection) -> None:
    for number, minutes in enumerate((5, 9, 1)):
        stored(connection, "Down", f"abcd{number}", minutes=minutes)
    stored(connection, "Other", "ABCD3", minutes=7)
    assert [row["fingerprint"] for row in reported.find(connection, "default", "abcd")] == ["abcd1", "abcd0", "abcd2"]


def test_a_name_means_those_that_wait_as_well(connection: sa.Connection) -> None:
    stored(connection, "Down", "a")
    waits(connection, "Down", "b")
    assert {row["fingerprint"] for row in reported.find(connection, "default", "Down")} == {"a", "b"}

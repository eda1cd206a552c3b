"""Turns on disk: who works and for how long, and what is away."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from quell.incident.event import EventKind, NewEvent, Stream
from quell.store import events, turns
from quell.store.database import Database

OPENED = NewEvent(kind=EventKind.OPENED, payload={"title": "Down", "severity": "P2"})


@pytest.fixture
def database(database: Database) -> Database:
    def fill(connection: sa.Connection) -> None:
        for incident in ("a", "b"):
            events.append(connection, "default", Stream.INCIDENT, incident, [OPENED])
            turns.put(
                connection,
                {"incident": incident, "number": 1, "tenant": "default", "runbook": "down", "state": "working",
                 "priority": 2, "since": 100, "timeout": 50, "most": 3, "size": 10, "request": f"for {incident}"},
            )  # fmt: skip

    database.write_now(fill)
    return database


def row(database: Database, incident: str = "a") -> dict[str, Any]:
    found = database.read_now(lambda c: turns.of_tenant(c, "default"))
    return next(one for one in found if one["incident"] == incident)


def test_the_time_away_is_no_work(database: Database) -> None:
    database.write_now(lambda c: turns.leave(c, "a", 1, 130))
    assert (row(database)["state"], row(database)["worked"]) == ("away", 30)
    database.write_now(lambda c: turns.leave(c, "a", 1, 190))  # once is enough
    database.write_now(lambda c: turns.come_back(c, "a", 1, 900))
    assert [row(database)[name] for name in ("state", "worked", "since")] == ["working", 30, 900]
    database.write_now(lambda c: turns.come_back(c, "a", 1, 950))
    assert row(database)["since"] == 900
    assert row(database, "b")["worked"] == 0


def test_what_is_over_is_known_to_be_and_may_still_wait_for_somebody(database: Database) -> None:
    assert not database.read_now(lambda c: turns.is_over(c, "a", 1, 120))
    database.write_now(lambda c: turns.over(c, "a", 1))
    assert database.read_now(lambda c: turns.is_over(c, "a", 1, 120))
    assert not database.read_now(lambda c: turns.is_over(c, "b", 1, 120))
    database.write_now(lambda c: turns.leave(c, "a", 1, 120))
    assert row(database)["state"] == "away"


def test_what_is_over_is_over_before_anybody_has_looked(database: Database) -> None:
    """Also what comes back from where it waited: its time has not begun anew."""
    assert not database.read_now(lambda c: turns.is_over(c, "a", 1, 150))
    assert database.read_now(lambda c: turns.is_over(c, "a", 1, 151))
    database.write_now(lambda c: turns.over(c, "a", 1))
    database.write_now(lambda c: turns.leave(c, "a", 1, 160))
    assert not database.read_now(lambda c: turns.is_over(c, "a", 1, 900))
    database.write_now(lambda c: turns.come_back(c, "a", 1, 900))
    assert database.read_now(lambda c: turns.is_over(c, "a", 1, 900))


def test_what_has_ended_has_no_row(database: Database) -> None:
    database.write_now(lambda c: turns.end(c, "a", 1))
    assert [one["incident"] for one in database.read_now(turns.everybody)] == ["b"]
    assert not database.read_now(lambda c: turns.is_over(c, "a", 1, 120))


def test_of_a_tenant_alone_and_with_the_end_of_its_incident(database: Database) -> None:
    assert database.read_now(lambda c: turns.of_tenant(c, "acme")) == []
    resolved = NewEvent(kind=EventKind.RESOLVED, payload={"reason": "it is over"})
    database.write_now(lambda c: events.append(c, "default", Stream.INCIDENT, "a", [resolved]))
    assert row(database)["ended_at"] is not None
    assert row(database, "b")["ended_at"] is None
    assert database.read_now(lambda c: turns.request_of(c, "b", 1)) == "for b"

"""Incidents as they are listed, counted and named, where many began in one moment; approvals by what people type."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from quell.errors import NotFound, Pruned
from quell.incident.event import EventKind, NewEvent, Stream
from quell.incident.incident import Incident
from quell.store import events, queries
from quell.store.database import Database
from quell.store.schema import approvals, incidents

OF = "default"
EACH = 5


@pytest.fixture
def connection(database: Database) -> Iterator[sa.Connection]:
    """Three moments, with five incidents each; those of the first have ended."""
    with database.engine.begin() as connection:
        for at in range(3):
            for number in range(EACH):
                begun(connection, f"i{at}{number}", at)
        yield connection


def begun(connection: sa.Connection, name: str, at: int, tenant: str = OF) -> None:
    new = [NewEvent(kind=EventKind.OPENED, payload={"title": name, "severity": "P2", "service": f"s{at}"})]
    if at == 0:
        new.append(NewEvent(kind=EventKind.RESOLVED, payload={"reason": "it is over"}))
    events.append(connection, tenant, Stream.INCIDENT, name, new, at_us=1_000_000 * (at + 1))


def listed(connection: sa.Connection, **asked: Any) -> list[str]:
    return [one.id for one in queries.recent_incidents(connection, OF, **asked)]


def paged(connection: sa.Connection, **asked: Any) -> list[str]:
    """All of them, a few at a time."""
    found = list[Incident]()
    while True:
        last = found[-1] if found else None
        at = events.to_us(last.opened_at) if last and last.opened_at else None
        some = queries.recent_incidents(
            connection, OF, limit=3, before_us=at, before_id=last.id if last else "", **asked
        )  # fmt: skip
        if not some:
            return [one.id for one in found]
        found += some


def test_page_by_page_each_is_told_once_in_one_order(connection: sa.Connection) -> None:
    everything = [f"i{at}{number}" for at in (2, 1, 0) for number in reversed(range(EACH))]
    assert listed(connection) == paged(connection) == everything
    assert listed(connection, ended=False) == paged(connection, ended=False) == everything[:10]
    assert listed(connection, ended=True) == paged(connection, ended=True) == everything[10:]
    assert listed(connection, status="resolved") == paged(connection, status="resolved") == everything[10:]
    assert listed(connection, status="resolved", ended=False) == []


def test_they_are_counted_as_far_as_asked(connection: sa.Connection) -> None:
    begun(connection, "theirs", 1, tenant="another")
    assert [queries.how_many(connection, OF, most, ended=False) for most in (3, 10, 500)] == [3, 10, 10]
    assert [queries.how_many(connection, OF, most, ended=True) for most in (5, 6)] == [5, 5]
    assert queries.how_many(connection, "nobody", 5, ended=True) == 0
    assert set(queries.open_ids(connection, OF, 5)) == {f"i2{number}" for number in range(EACH)}


def test_open_ones_of_services_to_which_something_came_since(connection: sa.Connection) -> None:
    def found(*services: str, since: int) -> list[str]:
        open_ones = queries.open_incidents_of(connection, (OF, "", ""), services, since * 1_000_000)
        return sorted({one.service or "" for one in open_ones})

    assert found("s0", "s1", "s2", since=0) == ["s1", "s2"]
    assert found("s1", "s2", since=3) == ["s2"]
    assert found("s1", since=3) == []


def test_an_incident_by_a_beginning_that_is_unique(connection: sa.Connection) -> None:
    begun(connection, "j1%", 1)
    assert queries.incident(connection, "j").id == "j1%"
    assert queries.incident(connection, "i00").id == "i00"
    for name in ("i0", "", "j1_", "J", "i000", "%"):
        with pytest.raises(NotFound):
            queries.incident(connection, name)


def test_one_whose_contents_went_says_when_by_a_beginning_too(connection: sa.Connection) -> None:
    begun(connection, "k77", 0)
    new = [NewEvent(kind=EventKind.PRUNED, payload={"by": "ann", "before": "2026"})]
    events.append(connection, OF, Stream.INCIDENT, "k77", new, at_us=9_000_000)
    connection.execute(sa.delete(incidents).where(incidents.c.id == "k77"))
    for name in ("k77", "k7"):
        with pytest.raises(Pruned) as told:
            queries.incident(connection, name)
        assert "k77" in str(told.value)
    for name in ("k770", "K7", "i0"):
        with pytest.raises(NotFound) as gone:
            queries.incident(connection, name)
        assert not isinstance(gone.value, Pruned)


def test_an_approval_by_its_id_its_hash_or_a_beginning_of_either(connection: sa.Connection) -> None:
    for name, digest in (("aa11", "ff01"), ("aa1", "ff02"), ("bb22", "aa2")):
        connection.execute(sa.insert(approvals).values(
            id=name, tenant=OF, incident="i00", workflow="", hash=digest, request="{}", state="waiting",
            requested_at=1, expires_at=2,
        ))  # fmt: skip
    found = {name: queries.approval(connection, name)["id"] for name in ("aa11", "aa1", "ff01", "b", "ff02", "aa2")}
    assert found == {"aa11": "aa11", "aa1": "aa1", "ff01": "aa11", "b": "bb22", "ff02": "aa1", "aa2": "bb22"}
    for name in ("aa", "ff", "", "c", "%"):
        with pytest.raises(NotFound):
            queries.approval(connection, name)

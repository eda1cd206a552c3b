"""The processes as people see them: who is there, who is silent, who has ended, and whether they act alike."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from quell.engine import liveness
from quell.engine.tables import executors, metadata
from quell.engine.workers import SHOWN_FOR_US, Kind, State, differ, listed


@pytest.fixture
def connection() -> Iterator[sa.Connection]:
    engine = sa.create_engine("sqlite://")
    metadata.create_all(engine, [executors])
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def enter(connection: sa.Connection, name: str, at: int, configuration: str = "a", kind: Kind = Kind.SERVER) -> None:
    liveness.enter(connection, name, "1", at, 10_000_000, kind=kind, configuration=configuration)


def test_each_is_told_with_its_lease_and_what_it_has(connection: sa.Connection) -> None:
    enter(connection, "one", 0)
    enter(connection, "two", 8_000_000, kind=Kind.WORKER)
    found = {one.id: one for one in listed(connection, 12_500_000, {"two": ["01b", "01a"], "gone": ["01c"]})}
    assert [(one.state, one.lease_s) for one in found.values()] == [(State.ALIVE, 5.5), (State.SILENT, -2.5)]
    assert (found["two"].kind, found["two"].incidents) == (Kind.WORKER, ("01a", "01b"))
    assert found["one"].incidents == ()


def test_who_has_ended_is_told_for_a_day_and_last(connection: sa.Connection) -> None:
    enter(connection, "one", 0)
    liveness.bury(connection, "one", 20_000_000)
    enter(connection, "two", 30_000_000)
    assert [one.state for one in listed(connection, 31_000_000, {})] == [State.ALIVE, State.ENDED]
    late = 20_000_000 + SHOWN_FOR_US
    assert [one.id for one in listed(connection, late, {})] == ["two"]


def test_they_differ_when_those_that_are_there_do(connection: sa.Connection) -> None:
    enter(connection, "old", 0, "another")
    enter(connection, "one", 50_000_000)
    enter(connection, "two", 50_000_000)
    liveness.bury(connection, "old", 51_000_000)
    assert not differ(listed(connection, 52_000_000, {})), "who has ended acts no more"
    enter(connection, "three", 52_000_000, "b")
    assert differ(listed(connection, 53_000_000, {}))

"""Who is alive: a lease that runs out is found, and buried once its work is in the queue again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from quell.engine import liveness
from quell.engine.tables import executors, metadata


@pytest.fixture
def connection() -> Iterator[sa.Connection]:
    engine = sa.create_engine("sqlite://")
    metadata.create_all(engine, [executors])
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def test_a_beat_keeps_the_work_and_silence_loses_it(connection: sa.Connection) -> None:
    liveness.enter(connection, "one", "1", 0, 100)
    assert liveness.beat(connection, "one", 90, 100)
    assert liveness.dead(connection, 190) == []
    assert liveness.dead(connection, 191) == ["one"]
    liveness.bury(connection, "one", 192)
    assert liveness.dead(connection, 193) == []
    assert not liveness.beat(connection, "one", 194, 100)


def test_who_was_buried_alive_comes_back_and_can_be_found_again(connection: sa.Connection) -> None:
    liveness.enter(connection, "one", "1", 0, 100)
    liveness.bury(connection, "one", 200)
    liveness.enter_again(connection, "one", 210, 100)
    assert liveness.beat(connection, "one", 220, 100)
    assert liveness.dead(connection, 321) == ["one"]


def test_who_came_back_in_time_is_not_buried(connection: sa.Connection) -> None:
    """A take-over takes a moment; whoever beats meanwhile lives."""
    liveness.enter(connection, "one", "1", 0, 100)
    assert liveness.dead(connection, 150) == ["one"]
    assert liveness.beat(connection, "one", 151, 100)
    liveness.bury(connection, "one", 152)
    assert liveness.beat(connection, "one", 153, 100)


def test_who_leaves_need_not_be_waited_for(connection: sa.Connection) -> None:
    liveness.enter(connection, "one", "1", 0, 10**9)
    liveness.leave(connection, "one", 50)
    assert liveness.dead(connection, 51) == ["one"]


def test_ids_differ_and_name_the_process() -> None:
    one, other = liveness.new_executor_id(), liveness.new_executor_id()
    assert one != other
    assert one.rsplit("-", 1)[0] == other.rsplit("-", 1)[0]

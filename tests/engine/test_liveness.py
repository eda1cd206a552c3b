"""Who is alive: a lease that runs out is found, and buried once its work is in the queue again."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from quell.engine import liveness, process
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


def test_when_the_next_lease_runs_out(connection: sa.Connection) -> None:
    assert liveness.next_end_us(connection, 0) is None
    for name, lease in (("long", 300), ("short", 100), ("over", 10)):
        liveness.enter(connection, name, "1", 0, lease)
    assert liveness.next_end_us(connection, 20) == 80
    assert liveness.next_end_us(connection, 100) == 0
    assert liveness.next_end_us(connection, 101) == 199, "what is over is not waited for"
    liveness.bury(connection, "long", 301)
    assert liveness.next_end_us(connection, 101) is None


def test_ids_differ_and_name_the_process() -> None:
    one, other = liveness.new_executor_id(), liveness.new_executor_id()
    assert one != other
    assert one.rsplit("-", 1)[0] == other.rsplit("-", 1)[0]


def row(connection: sa.Connection, name: str, **values: object) -> None:
    """An executor with a long lease; of ours but for ``values``."""
    liveness.enter(connection, name, "1", 0, 10**9)
    connection.execute(sa.update(executors).where(executors.c.id == name).values(**values))


def test_who_ended_here_without_a_goodbye_is_dead_at_once(connection: sa.Connection) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        born = process.born(child.pid)
        row(connection, "killed", pid=child.pid, born=born)
        liveness.enter(connection, "we", "1", 0, 10**9)
        assert liveness.end_gone(connection, 50) == liveness.dead(connection, 50) == []
        child.kill()
    row(connection, "other host", pid=child.pid, born=born, host="elsewhere")
    row(connection, "other container", pid=child.pid, born=born, machine="another namespace")
    row(connection, "says nothing", pid=child.pid, machine="", born="")
    assert liveness.end_gone(connection, 60) == liveness.dead(connection, 60) == ["killed"]
    liveness.bury(connection, "killed", 61)
    assert liveness.end_gone(connection, 62) == liveness.dead(connection, 62) == []


def test_where_a_machine_cannot_be_told_the_lease_decides(connection: sa.Connection) -> None:
    row(connection, "one", pid=2**22 + 1, born="1", machine="")
    assert liveness.end_gone(connection, 50, here="") == liveness.dead(connection, 50) == []
    assert liveness.dead(connection, 10**9 + 1) == ["one"]

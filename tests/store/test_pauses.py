"""Pauses are kept until they run out or are ended, once."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from quell.incident.pause import Pause, Scope
from quell.store import pauses
from quell.store.database import Database
from quell.store.events import to_us, when

NOW = 1_795_867_200_000_000


def pull(number: int, *, seconds: int) -> Pause:
    at = when(NOW + number)
    return Pause(id=str(number), tenant="acme", scope=Scope.SERVICE, name="payment", by="ann", reason="why", at=at,
                 until=at + timedelta(seconds=seconds))  # fmt: skip


def test_what_has_run_out_or_was_ended_is_off(database: Database) -> None:
    short, long, other = pull(1, seconds=10), pull(2, seconds=100), pull(3, seconds=100)

    def work(connection: sa.Connection) -> None:
        for one in (other, long, short):
            pauses.add(connection, one)
        assert pauses.on(connection, NOW) == (short, long, other)
        assert pauses.on(connection, to_us(short.until) - 1) == (short, long, other)
        assert pauses.on(connection, to_us(short.until)) == (long, other)
        assert pauses.end(connection, long.id, "bob", NOW + 5)
        assert not pauses.end(connection, long.id, "eve", NOW + 6)
        assert not pauses.end(connection, short.id, "eve", to_us(short.until))
        assert not pauses.end(connection, "none", "eve", NOW)
        assert pauses.on(connection, NOW + 20_000_000) == (other,)

    with database.engine.begin() as connection:
        work(connection)


def test_the_clock_is_told_with_those_that_are_on_by_it(database: Database) -> None:
    with database.engine.begin() as connection:
        before = database.now_us(connection)
        assert pauses.now_on(connection)[1] == ()
        off, long, other = (pull(number, seconds=seconds) for number, seconds in ((1, 10), (2, 10**9), (3, 10**9)))
        for one in (other, long, off):
            pauses.add(connection, one.model_copy(update={"until": when(before)}) if one is off else one)
        clock, on = pauses.now_on(connection)
        assert before <= pauses.hold(connection)
        assert before <= clock <= database.now_us(connection)
        assert on == (long, other)

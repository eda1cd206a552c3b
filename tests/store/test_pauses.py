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

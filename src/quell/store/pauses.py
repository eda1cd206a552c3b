"""Where the kill switch is kept. Time is the database's. Never does: judge what a pause covers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from quell.incident.pause import Pause, Scope
from quell.store.database import CLOCK, now_us
from quell.store.events import to_us, when
from quell.store.schema import pauses

# Asked before every action, hence made once.
_ON = (
    sa.select(pauses)
    .where(pauses.c.ended_at.is_(None), pauses.c.until > sa.bindparam("now"))
    .order_by(pauses.c.at, pauses.c.id)
)
_NOW = sa.select(sa.literal_column(CLOCK).label("now")).subquery()
_NOW_ON = (
    sa.select(_NOW.c.now, pauses)
    .select_from(_NOW.outerjoin(pauses, pauses.c.ended_at.is_(None) & (pauses.c.until > _NOW.c.now)))
    .order_by(pauses.c.at, pauses.c.id)
)

_BEFORE_ACTING = sa.text(f"select {CLOCK} from pg_advisory_xact_lock_shared(hashtextextended('quell/pauses', 0))")
_BEFORE_PAUSING = sa.text("select pg_advisory_xact_lock(hashtextextended('quell/pauses', 0))")


def hold(connection: sa.Connection) -> int:
    """Until this transaction ends nobody pulls the switch: whoever pulls it afterwards comes after what it decided.

    The database's clock then, microseconds since 1970.
    """
    if connection.dialect.name == "postgresql":
        return int(connection.execute(_BEFORE_ACTING).scalar_one())
    return now_us()


def add(connection: sa.Connection, pause: Pause) -> None:
    """Once it is committed, every later transaction that holds still and looks sees it."""
    if connection.dialect.name == "postgresql":
        connection.execute(_BEFORE_PAUSING)
    row = pause.model_dump() | {"scope": pause.scope.value, "at": to_us(pause.at), "until": to_us(pause.until)}
    connection.execute(sa.insert(pauses).values(row))


def on(connection: sa.Connection, now_us: int) -> tuple[Pause, ...]:
    """Those that have neither run out nor been ended, of every tenant, oldest first."""
    return tuple(_pause(dict(row)) for row in connection.execute(_ON, {"now": now_us}).mappings())


def now_on(connection: sa.Connection) -> tuple[int, tuple[Pause, ...]]:
    """The database's clock, and those that are ``on`` by it, asked at once."""
    if connection.dialect.name != "postgresql":
        clock = now_us()
        return clock, on(connection, clock)
    rows = connection.execute(_NOW_ON).mappings().all()
    return int(rows[0]["now"]), tuple(_pause(dict(row)) for row in rows if row["id"] is not None)


def end(connection: sa.Connection, pause: str, by: str, now_us: int) -> bool:
    """False when it has ended already, by somebody or by itself."""
    mine = sa.update(pauses).where(pauses.c.id == pause, pauses.c.ended_at.is_(None), pauses.c.until > now_us)
    return connection.execute(mine.values(ended_at=now_us, ended_by=by)).rowcount == 1


def _pause(row: Mapping[str, Any]) -> Pause:
    return Pause(
        id=row["id"], tenant=row["tenant"], scope=Scope(row["scope"]), name=row["name"], by=row["by"],
        reason=row["reason"], at=when(row["at"]), until=when(row["until"]),
    )  # fmt: skip

"""Runs that a limit counts: who waits for their turn, who works, who is away. A row goes when its run has ended.

Never does: say whose turn it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from quell.store.schema import incidents, turns

_ONE_AT_A_TIME = sa.text("select pg_advisory_xact_lock(hashtextextended(:name, 0))")
_WORKS = ("working", "over")


def in_turn(connection: sa.Connection, tenant: str) -> None:
    """Of two that ask at once, the second finds what the first was told. Whoever holds an incident may come here; who
    only gives turns comes here first, and waits for no incident."""
    if connection.dialect.name == "postgresql":
        connection.execute(_ONE_AT_A_TIME, {"name": f"turns/{tenant}"})


def put(connection: sa.Connection, row: Mapping[str, Any]) -> None:
    connection.execute(sa.insert(turns), row)


def of_tenant(connection: sa.Connection, tenant: str) -> list[dict[str, Any]]:
    """All of them, each with ``ended_at`` of its incident; without what it was asked to do."""
    return _listed(connection, turns.c.tenant == tenant)


def everybody(connection: sa.Connection) -> list[dict[str, Any]]:
    return _listed(connection, sa.true())


def _listed(connection: sa.Connection, where: sa.ColumnElement[bool]) -> list[dict[str, Any]]:
    own = [column for column in turns.c if column.name != "request"]
    query = sa.select(*own, incidents.c.ended_at).join(incidents, incidents.c.id == turns.c.incident)
    return [dict(row) for row in connection.execute(query.where(where)).mappings()]


def is_over(connection: sa.Connection, incident: str, number: int, now: int) -> bool:
    """Whether it works for longer than it may, also where nobody has looked since."""
    late = (turns.c.state == "working") & (turns.c.worked + now - turns.c.since > turns.c.timeout)
    query = sa.select(turns.c.number).where(*_mine(incident, number), (turns.c.state == "over") | late)
    return connection.execute(query).first() is not None


def request_of(connection: sa.Connection, incident: str, number: int) -> str:
    return str(connection.execute(sa.select(turns.c.request).where(*_mine(incident, number))).scalar_one())


def is_queued(connection: sa.Connection, incident: str, number: int) -> bool:
    return connection.execute(sa.select(turns.c.state).where(*_mine(incident, number))).scalar() == "queued"


def begin(connection: sa.Connection, incident: str, number: int, now: int) -> None:
    _set(connection, incident, number, {"state": "working", "since": now})


def hurry(connection: sa.Connection, incident: str, priority: int) -> None:
    """Whoever of the incident waits goes where the more severe are."""
    mine = (turns.c.incident == incident, turns.c.state == "queued", turns.c.priority > priority)
    connection.execute(sa.update(turns).where(*mine).values(priority=priority))


def over(connection: sa.Connection, incident: str, number: int) -> None:
    _set(connection, incident, number, {"state": "over"})


def leave(connection: sa.Connection, incident: str, number: int, now: int) -> None:
    """It waits for somebody, or for a time."""
    mine = sa.update(turns).where(*_mine(incident, number), turns.c.state.in_(_WORKS))
    connection.execute(mine.values(state="away", worked=turns.c.worked + (now - turns.c.since), since=now))


def come_back(connection: sa.Connection, incident: str, number: int, now: int) -> None:
    mine = sa.update(turns).where(*_mine(incident, number), turns.c.state == "away")
    connection.execute(mine.values(state="working", since=now))


def end(connection: sa.Connection, incident: str, number: int) -> None:
    connection.execute(sa.delete(turns).where(*_mine(incident, number)))


def _set(connection: sa.Connection, incident: str, number: int, values: Mapping[str, Any]) -> None:
    connection.execute(sa.update(turns).where(*_mine(incident, number)).values(values))


def _mine(incident: str, number: int) -> Iterable[sa.ColumnElement[bool]]:
    return turns.c.incident == incident, turns.c.number == number

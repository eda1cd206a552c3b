"""Alerts that are accepted and wait to be looked at: each a row on disk before its sender hears a 2xx.

What is most severe goes first, each tenant and each of its sources gets a share, and one alert's words keep their
order: weighted fair queueing (Demers, Keshav, Shenker 1989). Never does: judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import sqlalchemy as sa

from quell.store.bulk import Bulk
from quell.store.schema import inbox
from quell.store.shares import sources_of

LEAST_SHARE = 5
"""Alerts of each source in one batch, however many sources there are."""
_STRIDE, _LONGEST = {1: 1, 2: 2}, 4
"""How far whoever has had an alert of this priority looked at falls behind: four of the most severe go for one of the
others, and a flood of the most severe keeps nobody else waiting for good."""
MOST_WORDS = 5_000
"""Words of the alerts of one batch: of a flood of repetitions the rest comes with the next."""

_INBOX = Bulk(inbox, "id")
_DROP = sa.delete(inbox).where(inbox.c.id == sa.bindparam("one"))
_ANY = sa.select(inbox.c.id).limit(1)


def put(connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    _INBOX.put(connection, rows)


def is_empty(connection: sa.Connection) -> bool:
    return connection.execute(_ANY).first() is None


def waiting(connection: sa.Connection) -> dict[tuple[str, str], int]:
    """How many words wait, by tenant and source."""
    query = sa.select(inbox.c.tenant, inbox.c.source, sa.func.count()).group_by(inbox.c.tenant, inbox.c.source)
    return {(row[0], row[1]): int(row[2]) for row in connection.execute(query)}


_Waiting = tuple[int, int, str]
"""Priority, id, and the alert's id: of one that waits."""


def next_of(connection: sa.Connection, limit: int) -> list[Mapping[str, Any]]:
    """Every word that waits of the alerts that are next, in the order in which they came. The most severe alerts of
    each source are next, each source with its share, and in turn."""
    sources = sources_of(connection, inbox)
    share = max(limit // max(len(sources), 1), LEAST_SHARE)
    lanes: dict[str, list[list[_Waiting]]] = {}
    for tenant, source in sources:
        mine = sa.select(inbox.c.priority, inbox.c.id, inbox.c.alert_id).where(
            inbox.c.tenant == tenant, inbox.c.source == source
        )
        rows = connection.execute(mine.order_by(inbox.c.priority, inbox.c.id).limit(share)).all()
        lanes.setdefault(tenant, []).append([(row[0], row[1], row[2]) for row in rows])
    found: dict[str, list[Mapping[str, Any]]] = {name: [] for name in in_turn(lanes.values())}
    if not found:
        return []
    words = sa.select(inbox).where(inbox.c.alert_id.in_(found)).order_by(inbox.c.id).limit(MOST_WORDS)
    for row in connection.execute(words).mappings():
        found[row["alert_id"]].append(dict(row))
    return [row for rows in found.values() for row in rows]


def in_turn(tenants: Iterable[Iterable[Sequence[_Waiting]]]) -> list[str]:
    """Alerts by id, in the order in which they are looked at. Of each tenant what waits from each of its sources, the
    most severe first."""
    return [name for _, _, name in _in_turn(_in_turn(sources) for sources in tenants)]


def _in_turn(lanes: Iterable[Sequence[_Waiting]]) -> list[_Waiting]:
    timed = list[tuple[int, _Waiting]]()
    for lane in lanes:
        strides = (_STRIDE.get(priority, _LONGEST) for priority, _, _ in lane)
        timed += zip(accumulate(strides), lane, strict=True)
    return [waiting for _, waiting in sorted(timed)]


def drop(connection: sa.Connection, ids: Iterable[int]) -> None:
    connection.execute(_DROP, [{"one": one} for one in ids])

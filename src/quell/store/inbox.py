"""Alerts that are accepted and wait to be looked at: each a row on disk before its sender hears a 2xx.

What is most severe goes first, each source gets its share, and one alert's words keep their order. Never does: judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from quell.store.bulk import Bulk
from quell.store.schema import inbox
from quell.store.shares import sources_of

LEAST_SHARE = 5
"""Alerts of each source in one batch, however many sources there are."""
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


def next_of(connection: sa.Connection, limit: int) -> list[Mapping[str, Any]]:
    """Every word that waits of the alerts that are next, in the order in which they came. The most severe alerts of
    each source are next, each source with its share."""
    sources = sources_of(connection, inbox)
    share = max(limit // max(len(sources), 1), LEAST_SHARE)
    names: dict[str, None] = {}
    for tenant, source in sources:
        mine = sa.select(inbox.c.alert_id).where(inbox.c.tenant == tenant, inbox.c.source == source)
        rows = connection.execute(mine.order_by(inbox.c.priority, inbox.c.id).limit(share)).scalars()
        names |= dict.fromkeys(rows)
    if not names:
        return []
    words = sa.select(inbox).where(inbox.c.alert_id.in_(names)).order_by(inbox.c.id).limit(MOST_WORDS)
    found: dict[str, list[Mapping[str, Any]]] = {name: [] for name in names}
    for row in connection.execute(words).mappings():
        found[row["alert_id"]].append(dict(row))
    return [row for rows in found.values() for row in rows]


def drop(connection: sa.Connection, ids: Iterable[int]) -> None:
    connection.execute(_DROP, [{"one": one} for one in ids])

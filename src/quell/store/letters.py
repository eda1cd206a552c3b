"""Letters: webhooks' bodies that are accepted and not read yet, each a row on disk before its sender hears a 2xx.

In a storm reading them is what takes the time. They are opened in their order: so few may stay closed that nobody waits
long behind anybody. Never does: read a body.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from quell.store.bulk import Bulk
from quell.store.schema import letters

_LETTERS = Bulk(letters, "id")
_ANY = sa.select(letters.c.id).limit(1)
_NEXT = sa.select(letters).order_by(letters.c.id).limit(sa.bindparam("most"))
_DROP = sa.delete(letters).where(letters.c.id == sa.bindparam("one"))


def put(connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    _LETTERS.put(connection, rows)


def is_empty(connection: sa.Connection) -> bool:
    return connection.execute(_ANY).first() is None


def waiting(connection: sa.Connection) -> dict[tuple[str, str], int]:
    """How many alerts wait in letters, by tenant and source."""
    size = sa.func.sum(letters.c.size)
    query = sa.select(letters.c.tenant, letters.c.source, size).group_by(letters.c.tenant, letters.c.source)
    return {(row[0], row[1]): int(row[2]) for row in connection.execute(query)}


def next_of(connection: sa.Connection, most: int) -> list[Mapping[str, Any]]:
    """The oldest letters, with about ``most`` alerts; at least one."""
    found: list[Mapping[str, Any]] = []
    for row in connection.execute(_NEXT, {"most": most}).mappings():
        found.append(dict(row))
        most -= row["size"]
        if most <= 0:
            break
    return found


def has(connection: sa.Connection, letter: int) -> bool:
    return connection.execute(_ANY.where(letters.c.id == letter)).first() is not None


def drop(connection: sa.Connection, ids: Iterable[int]) -> None:
    connection.execute(_DROP, [{"one": one} for one in ids])

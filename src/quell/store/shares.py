"""Who has something waiting in a table, so that each gets a share. Never does: choose what is next."""

from __future__ import annotations

import sqlalchemy as sa


def sources_of(connection: sa.Connection, table: sa.Table) -> list[tuple[str, str]]:
    """Each tenant and source of a table, in their order. A jump in its index for each: of a hundred thousand rows that
    wait, nearly all are of the same few."""
    key = sa.tuple_(table.c.tenant, table.c.source)
    first = sa.select(table.c.tenant, table.c.source).order_by(table.c.tenant, table.c.source).limit(1)
    found: list[tuple[str, str]] = []
    row = connection.execute(first).first()
    while row is not None:
        found.append((row[0], row[1]))
        row = connection.execute(first.where(key > sa.tuple_(*found[-1]))).first()
    return found

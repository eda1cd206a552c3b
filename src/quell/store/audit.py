"""Verifies the whole event log where it lies. Memory: a block of rows, and what the checkpoints given have seen.

Never does: write, or trust a head over its events.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from quell.incident.event import Stream
from quell.store.chain import Fault, Marks, Name, Report, Row, What, gone, walk
from quell.store.schema import events, streams

BLOCK = 1_000
"""Rows that are fetched at once."""
OF_HEAD = sa.and_(
    streams.c.tenant == events.c.tenant, streams.c.stream == events.c.stream, streams.c.stream_id == events.c.stream_id
)
_NAME = (events.c.tenant, events.c.stream, events.c.stream_id)
_COLUMNS = [events.c[name] for name in Row._fields[:-2]]


def verify(connection: sa.Connection, tenant: str | None = None, marks: Marks | None = None) -> Report:
    """Every stream, or every stream of a tenant. ``marks``: what checkpoints saw. On PostgreSQL: in a transaction."""
    marks = {name: of for name, of in (marks or {}).items() if tenant in (None, name[0])}
    unseen = set(marks)
    report = walk(_noted(rows(connection, _where(tenant)), unseen), marks)
    missing = frozenset(unseen)
    for head in _heads_alone(connection, tenant):
        report.streams += 1
        detail = f"the head is at event {head.seq}, and there is no event"
        report.faults.append(Fault(What.CUT, detail, head.tenant, head.stream, head.stream_id, 1))
    report.faults += gone(frozenset(marks) - missing, marks)
    return report


def _where(tenant: str | None) -> list[sa.ColumnElement[bool]]:
    return [] if tenant is None else [events.c.tenant == tenant]


def rows(connection: sa.Connection, where: list[sa.ColumnElement[bool]]) -> Iterator[Row]:
    """Stream by stream, block by block. One statement, so that a log that is written to meanwhile is seen as it was."""
    query = (
        sa.select(*_COLUMNS, streams.c.seq, streams.c.hash)
        .select_from(events.outerjoin(streams, OF_HEAD))
        .where(*where)
        .order_by(*_NAME, events.c.seq)
        .execution_options(yield_per=BLOCK)
    )
    for block in connection.execute(query).partitions():
        yield from map(Row._make, block)


def _noted(found: Iterator[Row], unseen: set[Name]) -> Iterator[Row]:
    if not unseen:
        yield from found
        return
    for row in found:
        unseen.discard(row[:3])
        yield row


def _heads_alone(connection: sa.Connection, tenant: str | None) -> Iterator[sa.Row[Any]]:
    query = sa.select(*streams.c[*Row._fields[:3], "seq"]).where(~sa.exists().where(OF_HEAD))
    query = query.where(streams.c.tenant == tenant) if tenant is not None else query
    yield from connection.execute(query.execution_options(yield_per=BLOCK))


def begin_with(
    connection: sa.Connection, stream: Stream, beginning: str, tenant: str | None = None, limit: int = 3
) -> list[tuple[str, str]]:
    """Tenant and id of the streams of this id, or else of the first few whose id begins so."""
    query = sa.select(streams.c.tenant, streams.c.stream_id).where(streams.c.stream == stream.value)
    query = query.where(streams.c.tenant == tenant) if tenant is not None else query
    begins = streams.c.stream_id.startswith(beginning, autoescape=True)
    exact = connection.execute(query.where(streams.c.stream_id == beginning)).all()
    found = exact or connection.execute(query.where(begins).order_by(streams.c.stream_id).limit(limit)).all()
    return [(row.tenant, row.stream_id) for row in found]

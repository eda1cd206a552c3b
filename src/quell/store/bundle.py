"""A piece of the log as JSON Lines that holds by itself: header, checkpoints, events with their heads, seal.

``docs/audit.md`` has the schema, ``offline`` verifies it. Never does: hold more than one event in memory, or judge what
it exports.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa

from quell.store import audit
from quell.store.chain import Name, Row
from quell.store.checkpoint import Document, excerpt
from quell.store.events import when
from quell.store.schema import events, streams
from quell.store.seal import Seal

SCHEMA = "quell.audit/1"
_EVENT = Row._fields[:-2]
_HEAD = ("tenant", "stream", "stream_id", "seq", "hash")


@dataclass(frozen=True, slots=True)
class Scope:
    """What is exported: whole streams, so that each can be verified from its first event on."""

    tenant: str | None = None
    incident: str | None = None
    since_us: int | None = None
    """Only streams to which something was added since."""

    @property
    def is_all(self) -> bool:
        return self.incident is None and self.since_us is None

    def where(self) -> list[sa.ColumnElement[bool]]:
        found: list[sa.ColumnElement[bool]] = []
        if self.tenant is not None:
            found.append(events.c.tenant == self.tenant)
        if self.incident is not None:
            found += [events.c.stream == "incident", events.c.stream_id == self.incident]
        if self.since_us is not None:
            late = events.alias("late")
            same = (late.c[name] == events.c[name] for name in ("tenant", "stream", "stream_id"))
            found.append(sa.exists().where(*same, late.c.at >= self.since_us))
        return found


def export(
    connection: sa.Connection, seal: Seal, at_us: int, scope: Scope | None = None,
    checkpoints: Iterable[Document] = (),
) -> Iterator[bytes]:  # fmt: skip
    """The lines. Of the checkpoints, what they saw of these streams. On PostgreSQL: in a transaction."""
    whole, count = hashlib.sha256(), 0
    for line in _lines(connection, seal, at_us, scope or Scope(), checkpoints):
        data = _spelled(line) + b"\n"
        whole.update(data)
        count += 1
        yield data
    yield orjson.dumps(seal.sign({"type": "seal", "lines": count, "digest": whole.hexdigest()})) + b"\n"


def _spelled(line: dict[str, Any]) -> bytes:
    """Bytes that are no text, which only a hand can have put there, are told with U+FFFD: the line cannot hold."""
    try:
        return orjson.dumps(line)
    except TypeError:
        return json.dumps(line, ensure_ascii=False).encode("utf-8", "replace")


def _lines(
    connection: sa.Connection, seal: Seal, at_us: int, scope: Scope, checkpoints: Iterable[Document]
) -> Iterator[dict[str, Any]]:
    yield {
        "type": "header", "schema": SCHEMA, "at": when(at_us).isoformat(), "tenant": scope.tenant,
        "incident": scope.incident, "since": None if scope.since_us is None else when(scope.since_us).isoformat(),
        "whole": scope.is_all, "key": seal.public.id,
    }  # fmt: skip
    covers = _covers(connection, scope)
    for document in checkpoints:
        if (told := excerpt(document, covers)) is not None:
            yield {"type": "checkpoint", "checkpoint": told}
    last: Row | None = None
    for row in audit.rows(connection, scope.where()):
        if last is not None and last[:3] != row[:3]:
            yield from _head(last)
        last = row
        yield {"type": "event", **dict(zip(_EVENT, row, strict=False)), "at": _time(row.at), "payload": _payload(row)}
    if last is not None:
        yield from _head(last)
    if scope.since_us is None:
        yield from _heads_alone(connection, scope)


def _covers(connection: sa.Connection, scope: Scope) -> Callable[[Name], bool]:
    """Of which streams may be told, and must be: also of those that the database no longer has."""
    if scope.since_us is None:
        return lambda name: (
            scope.tenant in (None, name[0]) and (scope.incident is None or name[1:] == ("incident", scope.incident))
        )
    query = sa.select(*events.c["tenant", "stream", "stream_id"]).where(*scope.where()).distinct()
    chosen = {tuple(row) for row in connection.execute(query)}
    return lambda name: name in chosen


def _head(row: Row) -> Iterator[dict[str, Any]]:
    if row.head_seq is not None:
        yield {"type": "head", **dict(zip(_HEAD, (*row[:3], row.head_seq, row.head_hash), strict=True))}


def _heads_alone(connection: sa.Connection, scope: Scope) -> Iterator[dict[str, Any]]:
    query = sa.select(*streams.c[_HEAD]).where(~sa.exists().where(audit.OF_HEAD))
    if scope.tenant is not None:
        query = query.where(streams.c.tenant == scope.tenant)
    if scope.incident is not None:
        query = query.where(streams.c.stream == "incident", streams.c.stream_id == scope.incident)
    for row in connection.execute(query):
        yield {"type": "head", **dict(zip(_HEAD, row, strict=True))}


def _time(at: Any) -> Any:
    """As everywhere outside of the database; what is no time stays what it is."""
    try:
        return when(at).isoformat()
    except (TypeError, OverflowError):
        return at


def _payload(row: Row) -> Any:
    """What cannot be read is exported as text, which no payload is."""
    try:
        value = orjson.loads(row.payload or "null")
        return value if isinstance(value, dict | None) else row.payload
    except ValueError:
        return row.payload

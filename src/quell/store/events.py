"""The event log: append-only streams, hash-chained, with the incident's row folded in the same transaction.

The chain hashes payload *hashes* (RFC 8785 canonical JSON, SHA-256), so a payload can be erased later without breaking
it. No secret that this process knows gets into it. Never does: decide what happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import sqlalchemy as sa

from quell.errors import Conflict
from quell.incident.event import EVENT_SCHEMA, Event, EventKind, NewEvent, Stream
from quell.incident.incident import Incident, apply
from quell.redact import KNOWN
from quell.store import folds
from quell.store.canonical import digest, envelope_of, link
from quell.store.database import now_us
from quell.store.folds import Fold
from quell.store.schema import events, incidents, streams

INCIDENT_SCHEMA = 1
GENESIS = ""
_LARGEST_INTEGER = 2**53 - 1

# The statements of an append, made once: building them anew cost a quarter of a run.
_STREAM = (
    streams.c.tenant == sa.bindparam("of"), streams.c.stream == sa.bindparam("kind"),
    streams.c.stream_id == sa.bindparam("id"),
)  # fmt: skip
_SELECT_HEAD = sa.select(streams.c.seq, streams.c.hash).where(*_STREAM).with_for_update()
_FREE_HEAD = _SELECT_HEAD.with_for_update(skip_locked=True)
_MOVE_HEAD = sa.update(streams).where(
    *_STREAM, streams.c.seq == sa.bindparam("old"), streams.c.hash == sa.bindparam("last")
)
_INSERT_HEAD = sa.insert(streams)
_SELECT_BY_KEY = sa.select(events).where(
    events.c.tenant == sa.bindparam("of"), events.c.stream == sa.bindparam("kind"),
    events.c.stream_id == sa.bindparam("id"), events.c.key.in_(sa.bindparam("keys", expanding=True)),
)  # fmt: skip
_SELECT_KEYS = _SELECT_BY_KEY.with_only_columns(events.c.key)
_INSERT_EVENTS = sa.insert(events)
_SELECT_STATE = sa.select(incidents.c.state).where(incidents.c.id == sa.bindparam("id"))
_UPDATE_INCIDENT = sa.update(incidents).where(incidents.c.id == sa.bindparam("of"))
_INSERT_INCIDENT = sa.insert(incidents)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def when(us: int) -> datetime:
    """Microseconds since 1970 as UTC time."""
    return _EPOCH + timedelta(microseconds=us)


def to_us(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)


def dumps(value: Any) -> str:
    """JSON text as we store it; what JSON has no word for becomes text."""
    option = orjson.OPT_NON_STR_KEYS | orjson.OPT_STRICT_INTEGER
    try:
        return orjson.dumps(value, default=str, option=option).decode()
    except TypeError:
        return orjson.dumps(_spelled(value), default=str, option=option).decode()


def _spelled(value: Any) -> Any:
    """Integers beyond 2⁵³ and text that is no Unicode have no canonical JSON (RFC 8785): they are spelled out."""
    if isinstance(value, Mapping):
        return {_spelled(name): _spelled(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_spelled(inner) for inner in value]
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
        return str(value)
    return value


def append(
    connection: sa.Connection,
    tenant: str,
    stream: Stream,
    stream_id: str,
    new: Sequence[NewEvent],
    *,
    expect: int | None = None,
    place: tuple[str, str] = ("", ""),
    group_key: str = "",
    at_us: int | None = None,
) -> list[Event]:
    """Append events and, for an incident, fold them into its row, in the caller's transaction.

    An event whose key the stream already has is left out: a replay appends once. ``expect``: the sequence the caller
    has seen; raises ``Conflict`` when the stream has moved on. ``place``: environment and region.
    """
    to = _Log(tenant, stream, stream_id, place)
    keys = frozenset(event.key for event in new if event.key)
    fold = folds.of(stream_id) if stream is Stream.INCIDENT and expect is None else None
    if fold is not None and fold.lacks(keys):
        # Nearly always nobody else has written to it: the database is only asked to move on from where we left it.
        links = _chained(to, new, frozenset(), fold.seq, fold.hash, at_us)
        if links and _move_head(connection, to, fold.seq, fold.hash, links):
            return _write(connection, to, links, fold, group_key)
    seq, last = _head(connection, tenant, stream, stream_id)
    if expect is not None and expect != seq:
        raise Conflict(f"{stream} {stream_id} moved from event {expect} to {seq} in the meantime")
    links = _chained(to, new, _known_keys(connection, to, keys) if seq else frozenset(), seq, last, at_us)
    if not links:
        return []
    fold = _fold_so_far(connection, stream_id, seq, last) if seq and stream is Stream.INCIDENT else None
    if not _move_head(connection, to, seq, last, links):
        raise Conflict(f"{stream} {stream_id} moved on while an event was appended")
    return _write(connection, to, links, fold, group_key)


@dataclass(frozen=True, slots=True)
class _Log:
    """Which stream, and the environment and region of what is appended to it."""

    tenant: str
    stream: Stream
    stream_id: str
    place: tuple[str, str]

    @property
    def asked(self) -> dict[str, str]:
        return {"of": self.tenant, "kind": self.stream.value, "id": self.stream_id}


_Link = tuple[dict[str, Any], Event]
"""An event as a row, and as everybody else has it."""


def _chained(
    to: _Log, new: Sequence[NewEvent], known: frozenset[str], seq: int, previous: str, at_us: int | None
) -> list[_Link]:
    """The new events behind the one with this number and hash; those with a known key are left out."""
    seen, links = set(known), list[_Link]()
    for event in new:
        if event.key in seen:
            continue
        seen |= {event.key} - {""}
        payload, seq = orjson.loads(dumps(KNOWN.tree(event.payload))), seq + 1
        row: dict[str, Any] = {
            "tenant": to.tenant, "environment": to.place[0], "region": to.place[1], "stream": to.stream.value,
            "stream_id": to.stream_id, "seq": seq, "at": at_us or now_us(), "kind": event.kind.value,
            "actor": event.actor, "node": event.node, "key": event.key or None, "payload": dumps(payload),
            "payload_hash": digest(payload), "schema_version": EVENT_SCHEMA,
        }  # fmt: skip
        row["hash"] = previous = link(previous, envelope_of(row))
        links.append((row, _event(row, payload)))
    return links


def _write(connection: sa.Connection, to: _Log, links: list[_Link], fold: Fold | None, group_key: str) -> list[Event]:
    """What the head has moved on to."""
    connection.execute(_INSERT_EVENTS, [row for row, _ in links])
    stored = [event for _, event in links]
    if to.stream is Stream.INCIDENT:
        _fold_into_row(connection, to, links, fold, group_key)
    return stored


def _event(row: Mapping[str, Any], payload: dict[str, Any]) -> Event:
    return Event(
        id=row.get("id") or 0, tenant=row["tenant"], stream=Stream(row["stream"]), stream_id=row["stream_id"],
        seq=row["seq"], at=when(row["at"]), kind=EventKind(row["kind"]), actor=row["actor"], node=row["node"],
        payload=payload, hash=row["hash"], schema_version=row["schema_version"],
    )  # fmt: skip


def _head(connection: sa.Connection, tenant: str, stream: Stream, stream_id: str) -> tuple[int, str]:
    row = connection.execute(_SELECT_HEAD, {"of": tenant, "kind": stream.value, "id": stream_id}).first()
    return (row.seq, row.hash) if row else (0, GENESIS)


def _move_head(connection: sa.Connection, to: _Log, seq: int, last: str, links: list[_Link]) -> bool:
    """From just this event to the last of these. False when the log is not there, or not any more."""
    row, _ = links[-1]
    if not seq:
        begun = {"tenant": to.tenant, "stream": to.stream.value, "stream_id": to.stream_id}
        connection.execute(_INSERT_HEAD, {**begun, "seq": row["seq"], "hash": row["hash"]})
        return True
    moved = {**to.asked, "old": seq, "last": last, "seq": row["seq"], "hash": row["hash"]}
    return connection.execute(_MOVE_HEAD, moved).rowcount == 1


def _known_keys(connection: sa.Connection, to: _Log, keys: frozenset[str]) -> frozenset[str]:
    if not keys:
        return frozenset()
    return frozenset(connection.execute(_SELECT_KEYS, {**to.asked, "keys": sorted(keys)}).scalars())


def _fold_so_far(connection: sa.Connection, incident: str, seq: int, last: str) -> Fold | None:
    fold = folds.of(incident)
    if fold is not None and fold.hash == last:
        return fold
    state = connection.execute(_SELECT_STATE, {"id": incident}).scalar()
    return Fold(seq, last, Incident.model_validate_json(state)) if state else None


def _fold_into_row(connection: sa.Connection, to: _Log, links: list[_Link], fold: Fold | None, group_key: str) -> None:
    incident = fold.incident if fold else None
    for _, event in links:
        incident = apply(incident, event)
    assert incident is not None
    (first, _), (last, newest) = links[0], links[-1]
    keys = frozenset(row["key"] for row, _ in links if row["key"])
    known = fold.keys if fold else frozenset() if first["seq"] == 1 else None
    folds.keep(Fold(last["seq"], last["hash"], incident, None if known is None else known | keys))
    values = {
        "status": incident.status.value, "severity": incident.severity, "service": incident.service,
        "runbook": incident.runbook, "title": incident.title, "updated_at": to_us(newest.at),
        "ended_at": to_us(incident.ended_at) if incident.ended_at else None, "seq": incident.seq,
        "state": incident.model_dump_json(),
    }  # fmt: skip
    if fold is not None:
        connection.execute(_UPDATE_INCIDENT, {"of": incident.id, **values})
        return
    begun = {
        "id": incident.id, "tenant": incident.tenant, "environment": to.place[0], "region": to.place[1],
        "group_key": group_key, "opened_at": first["at"], "schema_version": INCIDENT_SCHEMA,
    }  # fmt: skip
    connection.execute(_INSERT_INCIDENT, {**begun, **values})


def hold(connection: sa.Connection, tenant: str, stream: Stream, stream_id: str) -> None:
    """Until this transaction ends nobody else appends to it: what is read of it now stays true."""
    _head(connection, tenant, stream, stream_id)


def hold_if_free(connection: sa.Connection, tenant: str, stream: Stream, stream_id: str) -> bool:
    """The same without waiting for whoever holds it. False: somebody does, or there is no such log."""
    return connection.execute(_FREE_HEAD, {"of": tenant, "kind": stream.value, "id": stream_id}).first() is not None


def held(connection: sa.Connection, tenant: str, incident: str) -> Incident | None:
    """``hold`` the log of an incident, and what it comes to. None: there is no such incident, or none any more."""
    seq, last = _head(connection, tenant, Stream.INCIDENT, incident)
    fold = _fold_so_far(connection, incident, seq, last)
    return fold.incident if fold else None


def read(
    connection: sa.Connection, tenant: str, stream: Stream, stream_id: str, after: int = 0, limit: int = 10_000
) -> list[Event]:
    """The events of a stream after a sequence number, in order."""
    query = (
        sa.select(events)
        .where(events.c.tenant == tenant, events.c.stream == stream.value, events.c.stream_id == stream_id)
        .where(events.c.seq > after)
        .order_by(events.c.seq)
        .limit(limit)
    )
    return [_event(dict(row), orjson.loads(row["payload"] or "{}")) for row in connection.execute(query).mappings()]


def newest(connection: sa.Connection, tenant: str, stream: Stream, stream_id: str, limit: int) -> list[Event]:
    """The last events of a stream, in order."""
    query = (
        sa.select(events)
        .where(events.c.tenant == tenant, events.c.stream == stream.value, events.c.stream_id == stream_id)
        .order_by(events.c.seq.desc())
        .limit(limit)
    )
    rows = connection.execute(query).mappings().all()
    return [_event(dict(row), orjson.loads(row["payload"] or "{}")) for row in reversed(rows)]


def by_key(
    connection: sa.Connection, tenant: str, stream: Stream, stream_id: str, keys: Iterable[str]
) -> dict[str, Event]:
    """Those of the stream's events that were appended under one of these idempotency keys."""
    asked = {"of": tenant, "kind": stream.value, "id": stream_id, "keys": list(keys)}
    rows = connection.execute(_SELECT_BY_KEY, asked).mappings()
    return {row["key"]: _event(dict(row), orjson.loads(row["payload"] or "{}")) for row in rows}

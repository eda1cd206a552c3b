"""Whether streams of events hold: the walk over their rows in order, and what it finds, each with stream and sequence.

Pure, and in the memory of one row and a few suspects: the rows come from the database or from an exported bundle. Never
does: repair, or call an erased payload a fault.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from quell.store.canonical import envelope_of, follows, is_payload

GENESIS = ""
SUSPECTS = 12
"""Events of one stream that are looked at closely, to say what became of them."""
MOST = 100
"""Faults of one stream that are told."""

Name = tuple[str, str, str]
"""Tenant, stream, id."""


class Row(NamedTuple):
    """An event as it is stored, and beside it where its stream's head is; ``head_seq`` is None without one."""

    tenant: str
    stream: str
    stream_id: str
    seq: int
    at: int
    kind: str
    actor: str
    node: str
    payload_hash: str
    schema_version: int
    environment: str
    region: str
    key: str | None
    hash: str
    payload: str | None
    head_seq: int | None = None
    head_hash: str | None = None


class What(StrEnum):
    EDITED = "edited"
    DELETED = "deleted"
    INSERTED = "inserted"
    REORDERED = "reordered"
    CUT = "cut"
    HEADLESS = "headless"
    REWRITTEN = "rewritten"
    FORGED = "forged"


@dataclass(frozen=True, slots=True)
class Fault:
    """What does not hold, from which event on. ``stream`` is empty for what is no stream, such as a checkpoint."""

    what: What
    detail: str
    tenant: str = ""
    stream: str = ""
    stream_id: str = ""
    seq: int = 0

    def __str__(self) -> str:
        place = f"{self.stream} {self.stream_id} event {self.seq}: " if self.stream else ""
        return f"{place}{self.what.value}: {self.detail}"


Marks = Mapping[Name, Mapping[int, str]]
"""What checkpoints saw: the hash of an event of a stream, by its number."""


@dataclass(slots=True)
class Report:
    """What was looked at, and what was found."""

    streams: int = 0
    events: int = 0
    erased: int = 0
    checkpoints: int = 0
    faults: list[Fault] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return not self.faults


class _Stream:
    """One stream on its way past."""

    def __init__(self, first: Row, marks: Mapping[int, str]) -> None:
        self.name: Name = first[:3]
        self.marks = marks
        self.previous, self.last = GENESIS, 0
        self.known = True  # whether the event before this one is there to be compared with
        self.suspects: list[tuple[Row, str]] = []
        self.newest = first
        self.faults: list[Fault] = []

    def fault(self, what: What, seq: int, detail: str) -> None:
        if len(self.faults) < MOST:
            self.faults.append(Fault(what, detail, *self.name, seq))

    def take(self, row: Row, envelope: Mapping[str, Any]) -> None:
        seq = row.seq
        if seq > self.last + 1:
            gone = f"events {self.last + 1} to {seq - 1} are" if seq > self.last + 2 else f"event {seq - 1} is"
            self.fault(What.DELETED, self.last + 1, f"{gone} not there")
            self.known = False
        elif seq <= self.last:
            self.fault(What.INSERTED, seq, "there are two events with this number")
        if row.payload is not None and not is_payload(row.payload, row.payload_hash):
            self.fault(What.EDITED, seq, "the payload is not the one that was hashed")
        if self.known and len(self.suspects) < SUSPECTS and not follows(self.previous, envelope, row.hash):
            self.suspects.append((row, self.previous))
        if self.marks and self.marks.get(seq, row.hash) != row.hash:
            self.fault(What.REWRITTEN, seq, "it is not the event that a checkpoint saw")
        self.previous, self.last, self.known, self.newest = row.hash, max(seq, self.last), True, row

    def end(self) -> list[Fault]:
        was = {row.seq: self._was(row) for row, _ in self.suspects}
        moved = {seq: old for seq, old in was.items() if old is not None and old != seq}
        if moved:
            self._displaced(moved)
        self._against_head()
        if not moved:
            self._edited(was)
        beyond = [seq for seq in self.marks if seq > self.last]
        if beyond:
            self.fault(What.CUT, self.last + 1, f"a checkpoint saw event {max(beyond)}, the last one is {self.last}")
        return sorted(self.faults, key=lambda fault: fault.seq)

    def _displaced(self, moved: Mapping[int, int]) -> None:
        """Events that were hashed under other numbers than they have."""
        first = self.suspects[0][0].seq
        shifts = {seq - old for seq, old in moved.items()}
        if shifts == {1}:
            self.fault(What.INSERTED, first, "the events behind it were moved up to make place")
        elif shifts == {-1}:
            self.fault(What.DELETED, first, "the events behind it were moved down into its place")
        else:
            seq, old = next(iter(moved.items()))
            self.fault(What.REORDERED, seq, f"it was event {old}")

    def _against_head(self) -> None:
        seq, hash_ = self.newest.head_seq, self.newest.head_hash
        if type(seq) is not int or not isinstance(hash_, str):
            self.fault(What.HEADLESS, self.last, "the stream has no head")
        elif seq > self.last:
            self.fault(What.CUT, self.last + 1, f"the head is at event {seq}, the last one is {self.last}")
        elif seq < self.last and not any(fault.what is What.INSERTED for fault in self.faults):
            self.fault(What.INSERTED, seq + 1, f"the head is at event {seq}, and more come behind it")
        elif seq == self.last and hash_ != self.previous:
            self.fault(What.EDITED, self.last, "the head has another hash than the last event")

    def _edited(self, was: Mapping[int, int | None]) -> None:
        """Events that do not follow the one before them, and are not explained by what is known of that one."""
        told = {fault.seq for fault in self.faults}
        for row, _ in self.suspects:
            if row.seq in told or (was[row.seq] == row.seq and told & {row.seq - 1}):
                continue
            self.fault(What.EDITED, row.seq, self._why(row))
            told.add(row.seq)

    @staticmethod
    def _why(row: Row) -> str:
        return f"it does not follow event {row.seq - 1}" if row.seq > 1 else "it is not the event that was hashed"

    def _was(self, row: Row) -> int | None:
        """The number under which this event was hashed; None when it is not the event that was hashed at all."""
        behind = {row.hash for row, _ in self.suspects} | {previous for _, previous in self.suspects}
        numbers = {seq + step for seq in (other.seq for other, _ in self.suspects) for step in (-1, 0, 1)}
        for seq in sorted(numbers, key=lambda number: abs(number - row.seq)):
            envelope = envelope_of(row._replace(seq=seq)._asdict())
            if any(follows(previous, envelope, row.hash) for previous in behind):
                return seq
        return None


def walk(rows: Iterable[Row], marks: Marks | None = None) -> Report:
    """``rows``: stream by stream, each in the order of its numbers. ``marks`` of streams that never come are left."""
    report, name = Report(), ("", "", "")
    current: _Stream | None = None
    marks = marks or {}
    for row in rows:
        if current is None or row[2] != name[2] or row[:3] != name:
            _close(report, current)
            name = row[:3]
            current = _Stream(row, marks.get(name, {}))
            report.streams += 1
        report.events += 1
        report.erased += row.payload is None
        if type(row.seq) is not int or not isinstance(row.hash, str):
            current.fault(What.EDITED, current.last + 1, "its number or its hash is none")
            continue
        current.take(row, _envelope(row))
    _close(report, current)
    return report


def _close(report: Report, stream: _Stream | None) -> None:
    if stream is not None:
        report.faults += stream.end()


def _envelope(row: Row) -> Mapping[str, Any]:
    """As ``envelope_of``, without asking for each name: this is most of what a walk costs."""
    (tenant, stream, stream_id, seq, at, kind, actor, node, payload_hash, version, environment, region, key, *_) = row
    if version == 1:
        return {
            "actor": actor, "at": str(at), "kind": kind, "node": node, "payload_hash": payload_hash,
            "schema_version": version, "seq": seq, "stream": stream, "stream_id": stream_id, "tenant": tenant,
        }  # fmt: skip
    return {
        "actor": actor, "at": str(at), "environment": environment, "key": key, "kind": kind, "node": node,
        "payload_hash": payload_hash, "region": region, "schema_version": version, "seq": seq, "stream": stream,
        "stream_id": stream_id, "tenant": tenant,
    }  # fmt: skip


def gone(seen: Iterable[Name], marks: Marks) -> Sequence[Fault]:
    """Streams that a checkpoint saw and of which nothing is left."""
    left = frozenset(seen)
    return [
        Fault(What.CUT, f"a checkpoint saw event {max(of)}, and nothing is left of the stream", *name, 1)
        for name, of in sorted(marks.items())
        if name not in left
    ]

"""Verifies an exported bundle line by line, with nothing but the public key. What it finds is what the database shows.

Never does: need the database, or keep more than one event and what the checkpoints saw in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from quell.errors import InvalidInput, Problem
from quell.store.bundle import SCHEMA
from quell.store.chain import Fault, Marks, Name, Report, Row, What, gone, walk
from quell.store.checkpoint import Seen
from quell.store.events import dumps, to_us
from quell.store.seal import Public, read_json

_EVENT = Row._fields[:-2]


def verify(lines: Iterable[bytes], public: Public) -> Report:
    """Raises ``InvalidInput`` for what is no bundle at all."""
    bundle = _Bundle(lines, public)
    report = walk(bundle.rows(), bundle.seen.marks)
    report.checkpoints = bundle.seen.count
    report.streams += len(bundle.alone)
    report.faults += [*bundle.alone, *gone(bundle.names, bundle.expected()), *bundle.seen.faults, *bundle.faults]
    return report


class _Bundle:
    """The lines on their way past."""

    def __init__(self, lines: Iterable[bytes], public: Public) -> None:
        self.public, self.seen = public, Seen()
        self.alone: list[Fault] = []
        self.faults: list[Fault] = []
        self.names: set[Name] = set()
        self._lines = self._parsed(lines)
        self._ahead: dict[str, Any] | None = None
        self.header = next(self._lines, {})
        if self.header.get("schema") != SCHEMA:
            found = str(self.header.get("schema"))
            raise InvalidInput([Problem("not an audit bundle", "schema", found=found, expected=SCHEMA)])
        if self.header.get("key") != public.id:
            self._fault(What.FORGED, f"the bundle is from key {self.header.get('key')}, not from {public.id}")
        self._ahead = next(self._lines, None)
        while self._ahead is not None and self._ahead.get("type") == "checkpoint":
            document = self._ahead.get("checkpoint")
            self.seen.take(document if isinstance(document, dict) else {}, "of the bundle", public, excerpt=True)
            self._ahead = next(self._lines, None)

    def _fault(self, what: What, detail: str) -> None:
        self.faults.append(Fault(what, detail))

    def _parsed(self, lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
        """Up to the seal, which is held against all that was before it."""
        whole, sealed = hashlib.sha256(), False
        for number, data in enumerate(lines, 1):
            if sealed:
                self._fault(What.INSERTED, f"line {number} comes behind the seal")
                return
            try:
                line = read_json(data, f"line {number}")
            except InvalidInput as error:
                if number == 1:
                    raise
                self._fault(What.FORGED, f"line {number} is {error.problems[0].message}")
                line = {}
            if line.get("type") == "seal":
                sealed = True
                flaw = self.public.flaw(line)
                if not flaw and (line.get("lines"), line.get("digest")) != (number - 1, whole.hexdigest()):
                    flaw = "it is not over these lines"
                if flaw:
                    self._fault(What.FORGED, f"the seal of the bundle: {flaw}")
                continue
            whole.update(data)
            yield line
        if not sealed:
            self._fault(What.CUT, "the bundle has no seal: its end is not there")

    def rows(self) -> Iterator[Row]:
        """Events; the last of a stream with the head that stands behind it."""
        held: Row | None = None
        for line in self._rest():
            kind = line.get("type")
            if kind == "event":
                if held is not None:
                    yield held
                held = _row(line)
                self.names.add(held[:3])
            elif kind == "head":
                name: Name = (line.get("tenant", ""), line.get("stream", ""), line.get("stream_id", ""))
                if held is not None and held[:3] == name:
                    yield held._replace(head_seq=_number(line.get("seq")), head_hash=line.get("hash"))
                    held = None
                else:
                    detail = f"the head is at event {line.get('seq')}, and there is no event"
                    self.alone.append(Fault(What.CUT, detail, *name, 1))
            elif line:
                self._fault(What.INSERTED, f"a line of an unknown type: {kind!r}")
        if held is not None:
            yield held

    def _rest(self) -> Iterator[dict[str, Any]]:
        if self._ahead is not None:
            yield self._ahead
        yield from self._lines

    def expected(self) -> Marks:
        """What the checkpoints saw of the streams that this bundle must have."""
        tenant, incident = self.header.get("tenant"), self.header.get("incident")
        if incident is None and not self.header.get("whole"):
            return {}
        return {
            name: of
            for name, of in self.seen.marks.items()
            if tenant in (None, name[0]) and (incident is None or name[1:] == ("incident", incident))
        }


def _row(line: dict[str, Any]) -> Row:
    values = {name: line.get(name) for name in _EVENT}
    payload = values["payload"]
    if payload is not None and not isinstance(payload, str):
        values["payload"] = dumps(payload)
    return Row(**{**values, "at": _us(values["at"])})


def _us(at: Any) -> Any:
    """Microseconds; what is no time stays what it is, and does not hash."""
    try:
        return to_us(datetime.fromisoformat(at))
    except (TypeError, ValueError):
        return at


def _number(value: Any) -> int | None:
    return value if type(value) is int else None

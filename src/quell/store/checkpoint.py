"""Signed checkpoints: where every stream stood at a time, kept outside of the database.

A chain alone does not show that its end was cut off or that all of it was written anew; what a checkpoint saw does.
Each names the digest of the one before it, so that one that was taken away is missed. Never does: overwrite one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa

from quell.errors import InvalidInput
from quell.store.chain import Fault, Name, What
from quell.store.events import when
from quell.store.schema import streams
from quell.store.seal import Public, Seal, read_json, write_once

SCHEMA = "quell.checkpoint/1"


@dataclass(slots=True)
class Seen:
    """What checkpoints say: marks for the walk, and what is wrong with the checkpoints themselves."""

    marks: dict[Name, dict[int, str]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    count: int = 0

    def take(self, document: Mapping[str, Any], name: str, public: Public) -> None:
        flaw = flaw_of(document, public)
        if flaw:
            self.faults.append(Fault(What.FORGED, f"checkpoint {name}: {flaw}"))
            return
        self.count += 1
        for tenant, stream, stream_id, seq, hash_ in document["streams"]:
            self.marks.setdefault((tenant, stream, stream_id), {})[seq] = hash_


def flaw_of(document: Mapping[str, Any], public: Public) -> str | None:
    """Why this is no checkpoint of ours. The signature covers the digest of the streams instead of each of them."""
    if document.get("schema") != SCHEMA:
        return f"its schema is {document.get('schema')!r}, not {SCHEMA!r}"
    if flaw := public.flaw({name: value for name, value in document.items() if name != "streams"}):
        return flaw
    rows = document.get("streams")
    if not isinstance(rows, list) or _digest(rows) != document.get("digest"):
        return "its streams are not those that were signed"
    return None


def take(
    connection: sa.Connection, seal: Seal, at_us: int, before: Mapping[str, Any] | None, tenant: str | None = None
) -> dict[str, Any]:
    """Where every stream stands, signed. ``before``: the newest checkpoint there is."""
    columns = streams.c["tenant", "stream", "stream_id", "seq", "hash"]
    query = sa.select(*columns).order_by(*columns[:3])
    query = query.where(streams.c.tenant == tenant) if tenant is not None else query
    rows = sorted(list(row) for row in connection.execute(query))
    head = {
        "schema": SCHEMA, "at": when(at_us).isoformat(), "tenant": tenant,
        "number": (before or {}).get("number", 0) + 1, "previous": _identity(before) if before else "",
        "digest": _digest(rows),
    }  # fmt: skip
    return {**seal.sign(head), "streams": rows}


def _digest(rows: Iterable[Any]) -> str:
    whole = hashlib.sha256()
    for row in rows:
        whole.update(orjson.dumps(row) + b"\n")
    return whole.hexdigest()


def _identity(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(str(document.get("signature")).encode()).hexdigest()


def write(folder: Path, document: Mapping[str, Any]) -> Path:
    """Raises ``FileExistsError`` when somebody else wrote this number first."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"checkpoint-{document['number']:08d}.json"
    write_once(path, orjson.dumps(document) + b"\n", 0o640)
    return path


def paths(folder: Path) -> list[Path]:
    """The oldest first."""
    return sorted(folder.glob("checkpoint-*.json"))


def newest(folder: Path) -> dict[str, Any] | None:
    """Raises ``InvalidInput``."""
    found = paths(folder)
    return read_json(found[-1].read_bytes(), str(found[-1])) if found else None


def seen(folder: Path, public: Public) -> Seen:
    """What all checkpoints of a folder say, and whether any is missing between them."""
    told, before = Seen(), None
    for path in paths(folder):
        try:
            document = read_json(path.read_bytes(), str(path))
        except InvalidInput as error:
            told.faults.append(Fault(What.FORGED, f"checkpoint {path.name}: {error.problems[0].message}"))
            continue
        count = told.count
        told.take(document, path.name, public)
        if told.count == count:
            continue
        expected = _identity(before) if before else ""
        if document["previous"] != expected:
            told.faults.append(Fault(What.DELETED, f"the checkpoint before {path.name} is not there"))
        before = document
    return told

"""Signed checkpoints: where every stream stood at a time, kept outside of the database.

A chain alone does not show that its end was cut off or that all of it was written anew; what a checkpoint saw does.
Each tells the streams that went on since the one before it, whose digest it names: together they are over all of them,
and one that was taken away is missed. Never does: overwrite one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa

from quell.errors import InvalidInput
from quell.store import merkle
from quell.store.chain import Fault, Name, What
from quell.store.events import when
from quell.store.schema import streams
from quell.store.seal import Public, Seal, read_json, write_once

SCHEMA = "quell.checkpoint/1"
Document = Mapping[str, Any]


@dataclass(slots=True)
class Seen:
    """What checkpoints say: marks for the walk, and what is wrong with the checkpoints themselves."""

    marks: dict[Name, dict[int, str]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    count: int = 0
    newest: Document | None = None

    def take(self, document: Document, name: str, public: Public, *, excerpt: bool = False) -> bool:
        """Whether it counts."""
        if flaw := flaw_of(document, public, excerpt=excerpt):
            self.faults.append(Fault(What.FORGED, f"checkpoint {name}: {flaw}"))
            return False
        self.count += 1
        for tenant, stream, stream_id, seq, hash_ in document["streams"]:
            self.marks.setdefault((tenant, stream, stream_id), {}).setdefault(seq, hash_)
        return True


def flaw_of(document: Document, public: Public, *, excerpt: bool = False) -> str | None:
    """Why this is no checkpoint of ours. The signature covers the root of the streams; an excerpt proves the way."""
    if document.get("schema") != SCHEMA:
        return f"its schema is {document.get('schema')!r}, not {SCHEMA!r}"
    if "proofs" in document and not excerpt:
        return "it is an excerpt: what else it saw is not there"
    if flaw := public.flaw({name: value for name, value in document.items() if name not in ("streams", "proofs")}):
        return flaw
    return None if _are_signed(document) else "its streams are not those that were signed"


def _are_signed(document: Document) -> bool:
    try:
        leaves = [_leaf(row) for row in document["streams"]]
        root, size, proofs = bytes.fromhex(document["root"]), document["size"], document.get("proofs")
        if proofs is None:
            return merkle.Tree(leaves).root == root
        return all(
            merkle.climbed(one, index, size, [bytes.fromhex(sister) for sister in path]) == root
            for one, (index, path) in zip(leaves, proofs, strict=True)
        )
    except (KeyError, TypeError, ValueError):
        return False


def _leaf(row: Sequence[Any]) -> bytes:
    tenant, stream, stream_id, seq, hash_ = row
    return merkle.leaf(orjson.dumps([tenant, stream, stream_id, seq, hash_]))


def take(connection: sa.Connection, seal: Seal, at_us: int, before: Seen | None = None) -> dict[str, Any] | None:
    """Where the streams stand that went on since, signed; None when none did."""
    before = before or Seen()
    found = connection.execute(sa.select(*streams.c["tenant", "stream", "stream_id", "seq", "hash"]))
    rows = sorted(list(row) for row in found if before.marks.get((row[0], row[1], row[2]), {}).get(row[3]) != row[4])
    if not rows:
        return None
    newest = before.newest
    head = {
        "schema": SCHEMA, "at": when(at_us).isoformat(),
        "number": newest["number"] + 1 if newest else 1, "previous": _identity(newest) if newest else "",
        "size": len(rows), "root": merkle.Tree(map(_leaf, rows)).root.hex(),
    }  # fmt: skip
    return {**seal.sign(head), "streams": rows}


def excerpt(document: Document, covers: Callable[[Name], bool]) -> dict[str, Any] | None:
    """The checkpoint with these streams alone, and the proofs that it has seen them; None when it saw none."""
    rows = document["streams"]
    chosen = [index for index, row in enumerate(rows) if covers((row[0], row[1], row[2]))]
    if len(chosen) == len(rows):
        return dict(document)
    if not chosen:
        return None
    tree = merkle.Tree(map(_leaf, rows))
    proofs = [[index, [sister.hex() for sister in tree.path(index)]] for index in chosen]
    return {**document, "streams": [rows[index] for index in chosen], "proofs": proofs}


def _identity(document: Document) -> str:
    return hashlib.sha256(str(document.get("signature")).encode()).hexdigest()


def write(folder: Path, document: Document) -> Path:
    """Raises ``FileExistsError`` when somebody else wrote this number first."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"checkpoint-{document['number']:08d}.json"
    write_once(path, orjson.dumps(document) + b"\n", 0o640)
    return path


def paths(folder: Path) -> list[Path]:
    """The oldest first."""
    return sorted(folder.glob("checkpoint-*.json"))


def sound(folder: Path, public: Public) -> Iterable[Document]:
    """The checkpoints of a folder that count, one after the other."""
    for path in paths(folder):
        try:
            document = read_json(path.read_bytes(), str(path))
        except InvalidInput:
            continue
        if flaw_of(document, public) is None:
            yield document


def seen(folder: Path, public: Public) -> Seen:
    """What all checkpoints of a folder say, and whether any is missing between them."""
    told = Seen()
    for path in paths(folder):
        try:
            document = read_json(path.read_bytes(), str(path))
        except InvalidInput as error:
            told.faults.append(Fault(What.FORGED, f"checkpoint {path.name}: {error.problems[0].message}"))
            continue
        if not told.take(document, path.name, public):
            continue
        expected = _identity(told.newest) if told.newest else ""
        if document["previous"] != expected:
            told.faults.append(Fault(What.DELETED, f"the checkpoint before {path.name} is not there"))
        told.newest = document
    return told

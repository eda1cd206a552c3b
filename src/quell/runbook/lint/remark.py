"""A remark of a rule, and how it finds its line and column in what was written.

Never does: judge a Plan.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from quell.errors import Problem
from quell.runbook.plan import Origin, Plan
from quell.runbook.source import Document, show_path
from quell.runbook.vocabulary import Vocabulary

Place = tuple[str | int, ...]
_HUMP = re.compile(r"(?<=[a-z0-9])[A-Z]")


@dataclass(frozen=True, slots=True)
class Remark:
    """A problem before it knows its line: ``place`` is a path below the origin of a node or decision."""

    origin: Origin
    place: Place
    message: str
    rule: str
    severity: str = "error"
    found: str | None = None
    expected: str | None = None
    nearest: str | None = None
    shift: int | None = None
    """How many characters into the text the trouble is, when it is about a part of it."""


Rule = Callable[[Plan, Vocabulary], Iterator[Remark]]


def placed(remark: Remark, document: Document, written: Mapping[str, Place]) -> Problem:
    """At the value itself, or at the closest parent that is written down."""
    base, place = remark.origin.path, show_path(remark.place)
    path = base + ("." if base and place and not place.startswith("[") else "") + place
    known = _written(snaked(path), written)
    line, column = document.places.get(known, (remark.origin.line, remark.origin.column))
    inset = document.insets.get(known)
    if snaked(show_path(known)) == snaked(path) or inset is not None:
        path = show_path(known)
    column += remark.shift + inset if remark.shift is not None and inset is not None else 0
    return Problem(
        remark.message, remark.rule, document.file, line, column, path, remark.found, remark.expected, remark.nearest,
        remark.severity,
    )  # fmt: skip


def _written(path: str, written: Mapping[str, Place]) -> Place:
    """The place of this path or of its closest parent; the document's own when there is none.

    Parameters that stand beside a type, without ``config`` around them, are where they stand.
    """
    while path and path not in written:
        beside = path.replace(".config.", ".", 1)
        if beside in written:
            return written[beside]
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return written.get(path, ())


def snaked(path: str) -> str:
    return _HUMP.sub(lambda found: "_" + found[0].lower(), path)

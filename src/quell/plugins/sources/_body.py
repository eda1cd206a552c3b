"""A webhook's body as JSON, within limits: what every source reads before it looks for alerts.

Never does: know any source's format.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import orjson

from quell.errors import InvalidInput, Problem

MAX_DEPTH = 32
_NESTED = frozenset({dict, list})
FRAGMENT = 2_048
"""How much of what is faulty is kept, in characters."""
MAX_KEPT = 4_096
"""How large a value may be that is kept beside an alert as it came, in bytes."""


def document(body: bytes) -> dict[str, Any]:
    """An object. Raises ``InvalidInput``."""
    read = json_of(body)
    if not isinstance(read, dict):
        raise InvalidInput([Problem("the body is not an object", "type", found=kind_of(read), expected="object")])
    return read


def json_of(body: bytes) -> Any:
    """Whatever it is, not too deep. Raises ``InvalidInput``."""
    try:
        read = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidInput([_unreadable(body, error)]) from None
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and _too_deep(read):
        raise InvalidInput([Problem(f"nested deeper than {MAX_DEPTH}", "too_deep", expected=f"≤ {MAX_DEPTH} levels")])
    return read


def _unreadable(body: bytes, error: orjson.JSONDecodeError) -> Problem:
    """Says NaN and Infinity by name: they are the usual reason why a body that looks right is not JSON (RFC 8259)."""
    near = body[max(0, error.pos - 10) : error.pos + 12].decode("utf-8", "replace")
    word = next((word for word in ("NaN", "Infinity") if word in near), None)
    message = f"{word} is not JSON" if word else f"not JSON: {error.msg}"
    return Problem(message, "json", line=error.lineno, column=error.colno, found=repr(near))


def _too_deep(read: Any) -> bool:
    """Level by level, only through what has levels below it."""
    level: list[Any] = [read] if read.__class__ in _NESTED else []
    for _ in range(MAX_DEPTH):
        level = [
            child
            for node in level
            for child in (node.values() if node.__class__ is dict else node)
            if child.__class__ in _NESTED
        ]
        if not level:
            return False
    return True


def kept(read: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """What a body says beside its alerts. Each alert keeps a copy, so a big one is cut."""
    found: dict[str, Any] = {}
    for name in names:
        if not read.get(name):
            continue
        text = orjson.dumps(read[name])
        if len(text) > MAX_KEPT or b"\\u0000" in text:
            found[name] = text[:FRAGMENT].decode("utf-8", "replace") + "…"
        else:
            found[name] = read[name]
    return found


def kind_of(value: Any) -> str:
    """What JSON calls it."""
    if value is None:
        return "null"
    names = {bool: "boolean", int: "number", float: "number", str: "text", list: "list", dict: "object"}
    return names.get(type(value), type(value).__name__)


def short(value: Any) -> str:
    """As JSON, at most 80 characters."""
    text = orjson.dumps(value).decode() if not isinstance(value, float) or math.isfinite(value) else str(value)
    return text if len(text) <= 80 else text[:79] + "…"


def fragment(entry: Any) -> Any:
    """The faulty alert, or the beginning of its text when it is big."""
    text = orjson.dumps(entry)
    return entry if len(text) <= FRAGMENT else text[:FRAGMENT].decode("utf-8", "replace") + "…"

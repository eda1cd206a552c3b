"""Canonical JSON (RFC 8785) of what the log hashes, by the fast writer wherever that writes the very same bytes.

The two differ in some numbers (``5.0``, ``1e-06``) and in the order of names beyond the first 65,536 characters of
Unicode; a property test holds them equal for the rest. Never does: guess: what is not certain goes to ``rfc8785``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson
import rfc8785

_OPTION = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER
_PLAIN = frozenset({str, int, bool, type(None)})
_TRIES = (TypeError, ValueError, RecursionError)
"""What the writers raise for what has no canonical form: text that is no Unicode, integers beyond 2⁵³."""


def canonical(value: Any) -> bytes:
    """Raises ``ValueError`` or ``TypeError`` for what has no canonical form."""
    if _is_certain(value):
        return orjson.dumps(value, option=_OPTION)
    return rfc8785.dumps(value)


def digest(value: Any) -> str:
    """The SHA-256 of the canonical form."""
    return hashlib.sha256(canonical(value)).hexdigest()


def _is_certain(value: Any) -> bool:
    """Whether both writers write this the same."""
    kind = type(value)
    if kind in _PLAIN:
        return True
    if kind is float:
        return 1e-5 <= abs(value) < 1e15 and not value.is_integer()
    if kind is dict:
        return all(type(name) is str and name.isascii() and _is_certain(inner) for name, inner in value.items())
    if kind is list:
        return all(map(_is_certain, value))
    return False


# What an event's hash covers. The columns are in the order of their names, as the canonical form has them.
_FIRST = ("actor", "at", "kind", "node", "payload_hash", "schema_version", "seq", "stream", "stream_id", "tenant")
_COVERED = {1: _FIRST, 2: tuple(sorted((*_FIRST, "environment", "key", "region")))}
"""By the event's schema version. An event cannot be passed off as an older one: its version is covered as well."""


def envelope_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """What the chain covers of a stored row."""
    names = _COVERED.get(row["schema_version"], _COVERED[2])
    return {name: str(row[name]) if name == "at" else row[name] for name in names}


def link(previous: str, envelope: Mapping[str, Any]) -> str:
    """The hash of an event: of the one before it and of all of its own but the payload, whose hash is inside."""
    return hashlib.sha256(previous.encode() + canonical(dict(envelope))).hexdigest()


def follows(previous: str, envelope: Mapping[str, Any], expected: str) -> bool:
    """Whether this is the hash of an event with this envelope behind this hash; False for what nobody can hash.

    The fast writer is asked alone: of text and integers it writes the canonical form, and whatever else a hand has put
    there comes out as other bytes. But for one: NaN is written as null, which only a key can have been.
    """
    try:
        fast = orjson.dumps(envelope, option=_OPTION)
        return (
            hashlib.sha256(previous.encode() + fast).hexdigest() == expected and type(envelope.get("key")) is not float
        )
    except _TRIES:
        return False


def is_payload(text: Any, expected: str) -> bool:
    """Whether a stored payload has this digest. The same value in another spelling is the same payload, unless a
    name stands in it twice: readers would not agree which of the two counts.

    The fast form is tried unasked: of what was read from JSON, bytes with the right hash are the right bytes.
    """
    try:
        value = orjson.loads(text)
        fast = orjson.dumps(value, option=_OPTION)
        if hashlib.sha256(fast).hexdigest() != expected and digest(value) != expected:
            return False
        return len(fast) == len(text) or len(fast) == len(text.encode()) or _names(value) == _written(text)
    except _TRIES:
        return False


def _names(value: Any) -> int:
    if isinstance(value, dict):
        return len(value) + sum(map(_names, value.values()))
    return sum(map(_names, value)) if isinstance(value, list) else 0


def _written(text: str) -> int:
    """How many names the text has: colons outside of strings."""
    count, inside, escaped = 0, False, False
    for sign in text:
        if escaped:
            escaped = False
        elif sign == "\\":
            escaped = True
        elif sign == '"':
            inside = not inside
        elif sign == ":" and not inside:
            count += 1
    return count

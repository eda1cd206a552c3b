"""Answers of steps as plain JSON in the database, so that a release of Quell, or of Python, reads what another wrote.

Never does: refuse an answer; what JSON cannot say is kept as near as it can.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from dbos._serialization import Serializer

from quell.redact import KNOWN

_FLOATS_END = 10**308


class JsonSerializer(Serializer):
    """Plain JSON. An exception becomes its type and text; steps that may fail return errors as data instead."""

    def name(self) -> str:
        return "quell_json"

    def serialize(self, data: Any) -> str:
        if isinstance(data, BaseException):
            data = {"__error__": type(data).__name__, "text": KNOWN.text(str(data))}
        try:
            return orjson.dumps(data, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
        except TypeError:
            return orjson.dumps(_narrowed(data), default=str, option=orjson.OPT_NON_STR_KEYS).decode()

    def deserialize(self, serialized_data: str) -> Any:
        data = orjson.loads(serialized_data)
        if isinstance(data, dict) and "__error__" in data:
            return RuntimeError(f"{data['__error__']}: {data['text']}")
        return data


def _narrowed(data: Any) -> Any:
    """Integers beyond 64 bits as the nearest float, text that is no Unicode spelled out: every answer is kept."""
    if isinstance(data, Mapping):
        return {_narrowed(name): _narrowed(inner) for name, inner in data.items()}
    if isinstance(data, list | tuple):
        return [_narrowed(inner) for inner in data]
    if isinstance(data, str):
        return data.encode("utf-8", "backslashreplace").decode()
    if isinstance(data, int) and not -(2**63) <= data < 2**64:
        return float(data) if abs(data) < _FLOATS_END else str(data)
    return data

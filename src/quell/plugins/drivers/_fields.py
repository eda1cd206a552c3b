"""Parameter types that several drivers share: spans of time and names that are safe in a command.

Never does: accept a unit that it does not know, or read ``M`` as minutes.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


def seconds(value: Any) -> Any:
    """``1m30s`` → 90.0; numbers are seconds already. Raises ValueError for other text."""
    if not isinstance(value, str):
        return value
    if not re.fullmatch(rf"(?:{_PART.pattern})+", value):
        raise ValueError(f"{value!r} is not a span of time such as 500ms, 30s or 1m30s")
    return sum(float(amount) * _UNITS[unit] for amount, unit in _PART.findall(value))


Seconds = Annotated[float, BeforeValidator(seconds), Field(ge=0, le=31_536_000, allow_inf_nan=False)]
"""Seconds, written as a number or as text with units."""

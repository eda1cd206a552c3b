"""Durations, moments and sizes as runbooks write them (``15m``, ``1h30m``, an RFC 3339 time, ``256KiB``).

Never does: read a unit without regard to case, because ``m`` is a minute; guess what an unknown unit means.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import BeforeValidator

_SECONDS = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0,
    "w": 604_800.0, "y": 31_536_000.0,
}  # fmt: skip
_BYTES = {"": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d|w|y)")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([A-Za-z]*)")
_LONGEST_TEXT = 64
LONGEST_S = 3660 * 86_400.0
"""No lookback or range of a check is longer than ten years."""


def seconds_or_none(value: object) -> float | None:
    """``5m`` → 300.0; a number is seconds already; None when it is not a duration. Never raises."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) if 0 <= value <= LONGEST_S else None
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT or not _WHOLE.fullmatch(value.strip()):
        return None
    total = sum(float(amount) * _SECONDS[unit] for amount, unit in _PART.findall(value))
    return total if total <= LONGEST_S else None


def seconds(value: object) -> float:
    """Like ``seconds_or_none``. Raises ValueError."""
    found = seconds_or_none(value)
    if found is None:
        raise ValueError(f"not a duration: {str(value)[:_LONGEST_TEXT]!r}; write one as 30s, 5m or 1h30m")
    return found


def size(value: object) -> int:
    """``256KiB`` → 262144; a whole number is bytes already. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) and len(value) <= _LONGEST_TEXT else None
    if match is None or match[2] not in _BYTES:
        raise ValueError(f"not a size: {str(value)[:_LONGEST_TEXT]!r}; write one as 65536, 256KiB or 1MB")
    return int(float(match[1]) * _BYTES[match[2]])


def moment(value: object) -> float:
    """Epoch seconds from a number, its text, or an RFC 3339 time (without a zone: UTC). Raises ValueError."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ValueError("not a moment: beyond every calendar") from None
    text = str(value).strip()[:_LONGEST_TEXT]
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return moment(datetime.fromisoformat(text))
    except ValueError:
        raise ValueError(f"not a moment: {text!r}; write epoch seconds or an RFC 3339 time") from None


Seconds = Annotated[float, BeforeValidator(seconds)]
Bytes = Annotated[int, BeforeValidator(size)]
Moment = Annotated[float, BeforeValidator(moment)]

"""Units of durations and sizes: the one table that the lexer, the checker and ``duration()`` share.

Sizes follow IEC 80000-13 (kB = 1000, KiB = 1024). Never does: read a unit without regard to case, because ``m``
is a minute and ``M`` is not a unit at all.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import NamedTuple


class Scale(NamedTuple):
    """A conversion as an exact fraction: 1000 ms is 1000 * 1 / 1000 seconds, without rounding twice."""

    multiply: int
    divide: int

    def apply(self, value: float) -> float:
        return value * self.multiply / self.divide


DURATION_UNITS: dict[str, Scale] = {
    "ns": Scale(1, 1_000_000_000),
    "us": Scale(1, 1_000_000),
    "µs": Scale(1, 1_000_000),
    "ms": Scale(1, 1000),
    "s": Scale(1, 1),
    "m": Scale(60, 1),
    "h": Scale(3600, 1),
    "d": Scale(86_400, 1),
    "w": Scale(604_800, 1),
}
SIZE_UNITS: dict[str, int] = {
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "PB": 10**15,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
    "PiB": 2**50,
}
PERCENT_TO_RATIO = Scale(1, 100)

_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d|w)")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([A-Za-z]+)")
_MAX_LENGTH = 64


def duration_seconds(text: str) -> float | None:
    """``1h30m`` → 5400.0, ``1000ms`` → 1.0; None when it is not a duration."""
    if len(text) > _MAX_LENGTH or not text.isprintable() or not _DURATION.fullmatch(text):
        return None
    total = Decimal(0)
    for amount, unit in _PART.findall(text):
        multiply, divide = DURATION_UNITS[unit]
        total += Decimal(amount) * multiply / divide
    return float(total)


def size_bytes(text: str) -> int | float | None:
    """``10MB`` → 10000000, ``1.5KiB`` → 1536; None when it is not a size."""
    match = _SIZE.fullmatch(text) if len(text) <= _MAX_LENGTH else None
    if match is None or match[2] not in SIZE_UNITS:
        return None
    try:
        exact = Decimal(match[1]) * SIZE_UNITS[match[2]]
    except InvalidOperation:
        return None
    return int(exact) if exact == exact.to_integral_value() else float(exact)


def show_duration(seconds: float) -> str:
    """Seconds the way people write them: 90 → ``1m30s``, 0.25 → ``250ms``, 93784 → ``1d2h3m4s``."""
    if seconds < 0:
        return "-" + show_duration(-seconds)
    if seconds < 1:
        return f"{seconds * 1000:.3g}ms" if seconds else "0s"
    whole, text = int(seconds), ""
    fraction = seconds - whole if seconds < 60 else 0.0
    for unit in ("d", "h", "m"):
        count, whole = divmod(whole, DURATION_UNITS[unit].multiply)
        text += f"{count}{unit}" if count else ""
    rest = whole + fraction
    return text + (f"{rest:.4g}s" if rest or not text else "")

"""Durations and rates as people write them. Bare numbers are seconds. Never does: guess any other unit."""

from __future__ import annotations

import re

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d|w)")
_LONG = re.compile(r"(\d+(?:\.\d+)?)\s*(milli\w*|se?c\w*|min\w*|ho?u?rs?|days?|weeks?)")
"""A unit spelled out, by its first letter the one that is meant."""
_LONGEST_S = 10 * 365 * 86400.0


def seconds(value: object) -> float:
    """``5m``, ``1h30m``, ``1000ms``, or a bare number of seconds. Raises ``ValueError``."""
    if isinstance(value, bool):
        raise ValueError("a duration such as 30s, 5m or 1h30m is needed")
    if isinstance(value, int | float):
        total = float(value)
    else:
        text = str(value).strip().replace(" ", "")
        parts = _PART.findall(text)
        if parts and "".join(number + unit for number, unit in parts) == text:
            total = sum(float(number) * _UNITS[unit] for number, unit in parts)
        elif re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
            total = float(text)
        else:
            raise ValueError(_no_duration(str(value).strip()))
    if not 0 <= total <= _LONGEST_S:
        raise ValueError("a duration lies between 0 and ten years")
    return total


def _no_duration(text: str) -> str:
    """What is wrong with a duration, and with a long or misspelt unit what it would be."""
    if "${" in text:
        return f"{text!r} is not a duration such as 30s or 5m; templates are not filled here"
    long = _LONG.fullmatch(text.lower())
    meant = f"; {long[1]}{long[2][0] if long[2][:3] != 'mil' else 'ms'} is" if long else ""
    return f"{text!r} is not a duration such as 30s, 5m or 1h30m{meant}"


def rate(value: object) -> tuple[int, float]:
    """``2/10m``: at most 2 in 600 seconds. Raises ``ValueError``."""
    count, _, per = str(value).partition("/")
    per = per.strip()
    if not per or not re.fullmatch(r"[1-9][0-9]{0,5}", count.strip()):
        raise ValueError(f"{value!r} is not a rate such as 2/10m")
    try:
        return int(count), seconds(per if per[:1].isdigit() else f"1{per}")
    except ValueError as error:
        raise ValueError(f"{value!r} is not a rate such as 2/10m: {error}") from None


def spoken(total_s: float) -> str:
    """Seconds as a person says them: ``1h30m``, ``45s``, ``250ms``."""
    if 0 < total_s < 1:
        return f"{total_s * 1000:g}ms"
    rest, text = total_s, ""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if rest >= size:
            text += f"{int(rest // size)}{unit}"
            rest %= size
    return text + (f"{rest:g}s" if rest or not text else "")

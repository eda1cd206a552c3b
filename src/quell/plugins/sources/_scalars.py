"""Single values as senders with loose templates write them: a text that may be a number, a time that may be a text.

A fault raises ``Bad``, whose text names the place and the fault. Never does: know any source's format.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from quell.plugins.sources._body import kind_of, short
from quell.plugins.sources._fields import MAX_VALUE, Bad, time

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECONDS_FROM, LATEST = 1e11, 1e14
"""As seconds the year 5138, as milliseconds 1973: what is less than the first is in seconds. And what is no time."""
_NUMBER = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?")


def text(path: str, value: Any, most: int = MAX_VALUE) -> str:
    """A text without blanks around it; a number and a truth value as JSON writes them; empty for null."""
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return spoken(value)
    if not isinstance(value, str):
        raise Bad(f"{path}: {kind_of(value)}, not a text")
    if "\0" in value:
        raise Bad(f"{path}: has a NUL in it")
    found = value.strip()
    if len(found) * 4 > most and len(found.encode()) > most:
        raise Bad(f"{path}: {len(found.encode())} bytes, more than {most}")
    return found


def spoken(value: Any) -> str:
    """A scalar as one writes it: 2.0 is 2."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return orjson.dumps(value).decode()


def moment(path: str, value: Any) -> datetime | None:
    """Seconds or milliseconds since 1970, as a number or as its text, or an RFC 3339 time. None: not known."""
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return time(path, value)
    if value == 0:
        return None
    if not 0 < value < LATEST:
        raise Bad(f"{path}: {short(value)}, no such time")
    return EPOCH + (timedelta(seconds=value) if value < MILLISECONDS_FROM else timedelta(milliseconds=value))


def truth(value: Any) -> bool | None:
    """``true`` and ``"true"``; None when it is neither yes nor no."""
    return {"true": True, "false": False}.get(spoken(value).strip().lower()) if isinstance(value, bool | str) else None


def prose(value: Any) -> str:
    """What people are to read, however it was sent: a text is cut rather than refused. Never raises."""
    if value is None:
        return ""
    found = (value if isinstance(value, str) else spoken(value)).replace("\0", "").strip()
    whole = found.encode()
    return found if len(whole) <= MAX_VALUE else whole[: MAX_VALUE - 3].decode("utf-8", "ignore") + "…"

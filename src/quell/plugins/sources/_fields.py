"""The fields of one alert, each within its limit. A fault raises ``Bad``, whose text names the place and the fault.

Never does: know any source's format.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from quell.incident.alert import fingerprint_of
from quell.plugins.sources._body import MAX_KEPT, kind_of, short

MAX_NAME, MAX_VALUE, MAX_LABELS, MAX_URL = 256, MAX_KEPT, 128, 8_192
LONGEST_TIME = 60
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,12}))?(?:([Zz])|([+-])(\d\d):(\d\d))", re.ASCII
)


class Bad(ValueError):
    """One alert is wrong; the text names the place and the fault."""


def texts(path: str, value: Any, most: int = MAX_LABELS) -> dict[str, str]:
    """Names with texts, each within its limit."""
    if not isinstance(value, dict):
        raise Bad(f"{path}: {kind_of(value)}, not an object")
    if len(value) > most:
        raise Bad(f"{path}: {len(value)} entries, more than {most}")
    if _surely_fit(value):
        return value
    for name, text in value.items():
        if not name or len(name) > MAX_NAME:
            raise Bad(f"{path}: a name of {len(name)} characters, not 1 to {MAX_NAME}")
        if not isinstance(text, str):
            raise Bad(f"{path}.{name}: {kind_of(text)}, not a text")
        if len(text) * 4 > MAX_VALUE and len(text.encode()) > MAX_VALUE:
            raise Bad(f"{path}.{name}: {len(text.encode())} bytes, more than {MAX_VALUE}")
        if "\0" in text or "\0" in name:
            raise Bad(f"{path}.{name!r}: has a NUL in it")
    return value


def _surely_fit(value: dict[str, Any]) -> bool:
    """Whether all of them together are shorter than one alone may be, as those of most alerts are: the rest is looked
    at one by one."""
    try:
        names, told = "".join(value), "".join(value.values())
    except TypeError:
        return False
    return (
        len(names) <= MAX_NAME and len(told) * 4 <= MAX_VALUE and "" not in value and "\0" not in names + told
    )  # fmt: skip


def plain(value: Any, most: int = MAX_LABELS // 2) -> dict[str, str]:
    """What of a sender's free-form details may be labels: names with texts, numbers and booleans, within the limits.

    The others are left out: whoever wants all of them finds them where the alert keeps them.
    """
    found: dict[str, str] = {}
    for name, given in value.items() if isinstance(value, dict) else ():
        text = given if isinstance(given, str) else short(given) if isinstance(given, bool | int | float) else ""
        fits = text and 0 < len(name) <= MAX_NAME and len(text.encode()) <= MAX_VALUE and "\0" not in name + text
        if fits and len(found) < most:
            found[name] = text
    return found


def line(value: Any, most: int = MAX_NAME) -> str:
    """A name or a word that only informs: on one line, cut where it is long, empty where it is no text."""
    return " ".join(value.replace("\0", "").split())[:most] if isinstance(value, str) else ""


def fingerprint(path: str, given: Any, labels: dict[str, str]) -> str:
    """As the sender says, else of the labels."""
    if given is None or given == "":
        return fingerprint_of(labels)
    if not isinstance(given, str) or len(given) > MAX_NAME or not given.isprintable():
        raise Bad(f"{path}: {short(given)}, not a short text")
    return given


def time(path: str, value: Any) -> datetime | None:
    """RFC 3339 with up to nanoseconds, cut to microseconds. Go's zero time means "not known"."""
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise Bad(f"{path}: {short(value)}, not a time such as 2026-01-02T03:04:05Z")
    try:
        return _moment(value)
    except ValueError as error:
        raise Bad(f"{path}: {short(value)}, {error}") from None


@lru_cache(maxsize=4096)
def _moment(value: str) -> datetime | None:
    """The alerts of a storm began at the same few moments. Raises ``ValueError``."""
    found = _TIME.fullmatch(value) if len(value) <= LONGEST_TIME else None
    if not found:
        raise ValueError("not a time such as 2026-01-02T03:04:05Z")
    if found[1] == "0001":
        return None
    micros = int((found[7] or "0")[:6].ljust(6, "0"))
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    try:
        moment = datetime(year, month, day, hour, minute, second, micros, tzinfo=UTC)
        offset = timedelta(hours=int(found[10] or 0), minutes=int(found[11] or 0))
        return moment + offset if found[9] == "-" else moment - offset
    except (ValueError, OverflowError):
        raise ValueError("no such time") from None


def url(path: str, value: Any) -> str | None:
    """A link that a person clicks later: anything but http is left out, the alert stays."""
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > MAX_URL:
        raise Bad(f"{path}: not a text of at most {MAX_URL} characters")
    return value if value.startswith(("http://", "https://")) else None

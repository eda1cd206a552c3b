"""iCalendar texts for tests, written as calendar programs write them. Never does: use a library to write them."""

from __future__ import annotations

from itertools import count

_NUMBERS = count()


def event(title: str, *lines: str, uid: str | None = None) -> str:
    """A VEVENT with these lines beside its title; ``uid`` is made of the title unless it is said."""
    name = uid or title.lower() or f"event-{next(_NUMBERS)}"
    return "\r\n".join(["BEGIN:VEVENT", f"UID:{name}", f"SUMMARY:{title}", *lines, "END:VEVENT"])


def zoned(name: str, offset: str) -> str:
    """A VTIMEZONE that is always this far from UTC."""
    rules = ["BEGIN:STANDARD", "DTSTART:19700101T000000", f"TZOFFSETFROM:{offset}", f"TZOFFSETTO:{offset}"]
    return "\r\n".join(["BEGIN:VTIMEZONE", f"TZID:{name}", *rules, "END:STANDARD", "END:VTIMEZONE"])


def calendar(*parts: str, head: str = "") -> str:
    """A VCALENDAR of these events and zones."""
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Quell//Tests//EN", *([head] if head else []), *parts]
    return "\r\n".join([*lines, "END:VCALENDAR", ""])

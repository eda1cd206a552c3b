"""A time of day in which something may be done: ``02:00-04:00 Europe/Zurich``, by the clock on the wall there.

Pure. Never does: read a clock.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo

from quell.zones import zone

_WINDOW = re.compile(r"(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})(?:\s+(\S+))?")


@dataclass(frozen=True, slots=True)
class Window:
    """Every day from ``opens`` until ``closes``, which may be on the next day."""

    opens: time
    closes: time
    zone: tzinfo

    def holds(self, now: datetime) -> bool:
        at = now.astimezone(self.zone).time()
        if self.opens < self.closes:
            return self.opens <= at < self.closes
        return at >= self.opens or at < self.closes

    def wait_s(self, now: datetime) -> float:
        """Seconds until it opens; 0 while it is open."""
        if self.holds(now):
            return 0.0
        today = now.astimezone(self.zone).date()
        days = (datetime.combine(today + timedelta(days=ahead), self.opens, self.zone) for ahead in (0, 1, 2))
        return next((day - now).total_seconds() for day in days if day > now)


def parse_window(text: str) -> Window:
    """Raises ``ValueError`` saying what is expected. Without a zone it is UTC; zones are IANA's."""
    found = _WINDOW.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not a window such as '02:00-04:00' or '22:30-05:00 Europe/Zurich'")
    first_hour, first_minute, last_hour, last_minute = map(int, found.groups()[:4])
    opens, closes = time(first_hour, first_minute), time(last_hour, last_minute)
    if opens == closes:
        raise ValueError(f"{text!r} opens and closes at the same minute")
    return Window(opens, closes, zone(found[5] or "UTC"))


__all__ = ["Window", "parse_window", "zone"]

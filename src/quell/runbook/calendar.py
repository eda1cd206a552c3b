"""Stretches of time as people agree on them: from a day until a day, or every Friday evening for the weekend.

Repetition is iCalendar's RRULE (RFC 5545, section 3.3.10), by the clock on the wall of its time zone. Pure.
Never does: read a clock.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Self

from dateutil.rrule import rrulestr
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, field_validator, model_validator

from quell.runbook.quantities import seconds
from quell.runbook.window import zone


def _moment(value: Any) -> Any:
    """A day is its first moment."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime.combine(value, time())
    return value


WallTime = Annotated[datetime, BeforeValidator(_moment)]
"""By the clock on the wall: without an offset, which is the time zone's to say."""


EARLIEST, LATEST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)


class Period(BaseModel):
    """From a moment, until another or for a time; with ``repeat`` again and again."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    begins: WallTime = Field(alias="from")
    """The first time it begins, such as ``2026-12-20`` or ``2026-11-27T18:00``."""
    until: WallTime | None = None
    """When the first time ends; or say ``for``."""
    lasts: Annotated[float, BeforeValidator(seconds)] | None = Field(default=None, alias="for")
    """How long each time lasts, such as ``62h``."""
    repeat: str | None = None
    """An RRULE, such as ``FREQ=WEEKLY;BYDAY=FR``. Without it there is one time."""
    timezone: str = "UTC"
    """Whose wall the clock hangs on, such as ``Europe/Zurich``."""

    _known: tuple[datetime, datetime, datetime | None] | None = PrivateAttr(default=None)
    """From a moment until another, UTC, what ``end_of`` says: years of weeks are many to count at every question."""

    @field_validator("timezone")
    @classmethod
    def _zoned(cls, name: str) -> str:
        zone(name)
        return name

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.begins.tzinfo is not None or (self.until is not None and self.until.tzinfo is not None):
            raise ValueError("from and until are by the clock on the wall: leave the offset out and say timezone")
        if (self.until is None) == (self.lasts is None):
            raise ValueError("say either until (when it ends) or for (how long it lasts)")
        if self.length <= timedelta():
            raise ValueError("it ends before it begins")
        if self.repeat is not None:
            # Finer ones would be counted from the first time on, second by second, through years.
            if not re.search(r"(?i)\bFREQ=(DAILY|WEEKLY|MONTHLY|YEARLY)\b", self.repeat):
                raise ValueError(
                    f"repeat {self.repeat!r} is no RRULE of days: FREQ is DAILY, WEEKLY, MONTHLY or YEARLY"
                )
            try:
                rrulestr(self.repeat, dtstart=self.begins)
            except Exception as error:
                raise ValueError(f"repeat {self.repeat!r} is no RRULE such as FREQ=WEEKLY;BYDAY=FR: {error}") from None
        return self

    @property
    def length(self) -> timedelta:
        return self.until - self.begins if self.until is not None else timedelta(seconds=self.lasts or 0.0)

    def covers(self, now: datetime) -> bool:
        """Whether a moment (with its offset) lies in it. What begins at that moment does, what ends there does not."""
        return self.end_of(now) is not None

    def end_of(self, now: datetime) -> datetime | None:
        """When the time that ``now`` lies in ends, UTC; None outside of it."""
        known = self._known
        if known is None or not known[0] <= now < known[1]:
            known = self._known = self._look(now)
        return known[2]

    def next_of(self, now: datetime) -> datetime | None:
        """When it begins next after a moment, UTC; None when it never does again."""
        wall = self.on_the_wall(now)
        while (follows := self._around(wall)[1]) is not None:
            if (begins := self._utc(follows)) > now:
                return begins
            wall = follows  # the clock was put back: the hands have passed it twice
        return None

    def on_the_wall(self, moment: datetime) -> datetime:
        """What the clock says there, without an offset."""
        return moment.astimezone(zone(self.timezone)).replace(tzinfo=None)

    def _utc(self, wall: datetime) -> datetime:
        return wall.replace(tzinfo=zone(self.timezone)).astimezone(UTC)

    def _look(self, now: datetime) -> tuple[datetime, datetime, datetime | None]:
        begun, follows = self._around(self.on_the_wall(now))
        high = self._utc(follows) if follows is not None else LATEST
        if begun is None:
            return (EARLIEST, high, None) if now < high else (now, now, None)
        start, end = self._utc(begun), self._utc(begun + self.length)
        if start <= now < end:
            return start, min(end, high), end
        # Around a change of the clock neither need hold; then the next moment is looked at anew.
        return (end, high, None) if end <= now < high else (now, now, None)

    def _around(self, wall: datetime) -> tuple[datetime | None, datetime | None]:
        """When it last began and when it begins next, by the clock on the wall."""
        if self.repeat is None:
            return (self.begins, None) if wall >= self.begins else (None, self.begins)
        rule = rrulestr(self.repeat, dtstart=self.begins)
        return rule.before(wall, inc=True), rule.after(wall)

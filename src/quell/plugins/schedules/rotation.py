"""People who take turns: a list, when the first turn begins, and how long each lasts.

```yaml
schedules:
  payments:
    type: rotation
    members: [anna, {name: ben, also: [ben@example.org]}, chloe]
    starts: 2026-11-02T09:00
    every: 1w
    timezone: Europe/Zurich
```

Turns are counted by the clock on the wall: who takes over at nine does so at nine in summer and in winter, so that the
turn in which the clock is set is an hour shorter or longer. Before ``starts``, and outside of ``hours``, nobody is on
call. Never does: ask anybody, skip holidays.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator

from quell.ports import OnCall, Probe
from quell.ports import Params as PortParams
from quell.zones import moment, zone

_HOUR_S, _DAY_S, _WEEK_S = 3600, 86_400, 604_800
_EVERY = re.compile(r"(?:(\d{1,3})w)?(?:(\d{1,4})d)?(?:(\d{1,4})h)?")
_HOURS = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)\s*-\s*([01]?\d|2[0-3]):([0-5]\d)")
_FIRST_YEAR, _LAST_YEAR = 1970, 9000
_LONGEST_S = 3660 * _DAY_S


def _named(value: Any) -> Any:
    """A name alone is a member."""
    return {"name": value} if isinstance(value, str) else value


def seconds(value: object) -> int:
    """``1w`` → 604800. Raises ValueError."""
    match = _EVERY.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or not any(match.groups()):
        raise ValueError("not the length of a turn; write whole weeks, days and hours, such as 1w, 2d or 12h")
    weeks, days, hours = (int(part or 0) for part in match.groups())
    found = weeks * _WEEK_S + days * _DAY_S + hours * _HOUR_S
    if not 0 < found <= _LONGEST_S:
        raise ValueError("a turn lasts an hour or more, and no longer than ten years")
    return found


def _wall(value: Any) -> Any:
    """A day is its first moment."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime.combine(value, time())
    return value


class Member(PortParams):
    """Written as a mapping where one name is not enough."""

    name: str = Field(min_length=1)
    """As the person's token is called."""
    also: tuple[str, ...] = ()
    """Other names of the same person, such as an e-mail address."""


class Params(PortParams):
    members: tuple[Annotated[Member, BeforeValidator(_named)], ...] = Field(max_length=1000)
    """Who takes turns, in order; then the first one again. A name alone will do."""
    starts: Annotated[datetime, BeforeValidator(_wall)]
    """When the first member's first turn begins, by the clock on the wall, such as ``2026-11-02T09:00``."""
    every: Annotated[int, BeforeValidator(seconds)]
    """How long a turn lasts: whole weeks, days and hours, such as ``1w``, ``2d`` or ``12h``."""
    timezone: str = "UTC"
    """Whose wall the clock hangs on, such as ``Europe/Zurich``."""
    hours: str | None = None
    """The part of each day in which somebody is on call, such as ``08:00-18:00`` or ``22:00-06:00``; by default all."""

    @field_validator("members")
    @classmethod
    def _somebody(cls, members: tuple[Member, ...]) -> tuple[Member, ...]:
        # A least length would be missed by a list of wrong entries too, and told beside what is wrong with them.
        if not members:
            raise ValueError("nobody takes turns: name at least one member")
        return members

    @field_validator("starts")
    @classmethod
    def _without_offset(cls, starts: datetime) -> datetime:
        if starts.tzinfo is not None:
            raise ValueError("starts is by the clock on the wall: leave the offset out and say timezone")
        if not _FIRST_YEAR <= starts.year <= _LAST_YEAR:
            raise ValueError(f"starts is between {_FIRST_YEAR} and {_LAST_YEAR}")
        return starts

    @field_validator("timezone")
    @classmethod
    def _zoned(cls, name: str) -> str:
        zone(name)
        return name

    @field_validator("hours")
    @classmethod
    def _opening(cls, text: str | None) -> str | None:
        if text is not None:
            _opens_and_closes(text)
        return text


async def on_call(params: Params, probe: Probe, at: datetime) -> tuple[OnCall, ...]:
    """The one whose turn it is. Never fails."""
    where = zone(params.timezone)
    found = _turn(params, at, where)
    if found is None:
        return ()
    number, ends = found
    if params.hours is not None:
        closes = _closes(params.hours, at, where)
        if closes is None:
            return ()
        ends = min(ends, closes)
    member = params.members[number % len(params.members)]
    return (OnCall(member.name, member.also, ends),)


def _turn(params: Params, at: datetime, where: tzinfo) -> tuple[int, datetime] | None:
    """The number of the turn, from 0, and when it ends; None before the first."""
    length = timedelta(seconds=params.every)

    def begins(number: int) -> datetime:
        return moment(params.starts + number * length, where)

    if at < begins(0):
        return None
    number = max(0, (at.astimezone(where).replace(tzinfo=None) - params.starts) // length)
    # Where the clock is set, what it shows does not tell which side of a handover a moment is on.
    while begins(number + 1) <= at:
        number += 1
    while begins(number) > at:
        number -= 1
    return number, begins(number + 1)


def _opens_and_closes(text: str) -> tuple[time, time]:
    match = _HOURS.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text[:40]!r} are no hours such as 08:00-18:00 or 22:00-06:00")
    first, first_minute, last, last_minute = (int(part) for part in match.groups())
    opens, closes = time(first, first_minute), time(last, last_minute)
    if opens == closes:
        raise ValueError(f"{text[:40]!r} opens and closes at the same minute")
    return opens, closes


def _closes(hours: str, at: datetime, where: tzinfo) -> datetime | None:
    """When the hours that the moment lies in end, UTC; None outside of them."""
    opens, closes = _opens_and_closes(hours)
    over_midnight = timedelta(days=1 if closes < opens else 0)
    today = at.astimezone(where).date()
    for day in (today - timedelta(days=1), today):
        begin = moment(datetime.combine(day, opens), where)
        end = moment(datetime.combine(day, closes) + over_midnight, where)
        if begin <= at < end:
            return end.astimezone(UTC)
    return None

"""Which events of an iCalendar text (RFC 5545) cover a moment: single ones, repeated ones, moved ones, whole days.

``icalendar`` reads the text, ``dateutil`` counts the repetitions; what follows from them is decided here. What cannot
be read is an error, even in an event of last year: whoever is on call might be in the part that was not understood.
Never does: open anything, take the clock of the machine, put a word of the text into an error but the event's UID.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from math import prod
from typing import Any

from dateutil.rrule import rrulestr
from icalendar import Calendar, Component
from icalendar.prop import vRecur
from icalendar.timezone import tzp

from quell.zones import moment, zone

MOST_EVENTS = 20_000
_COARSE = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")
_FINER = ("BYHOUR", "BYMINUTE", "BYSECOND")
_MOST_A_DAY = 24
_FIRST_YEAR = 1900
_SLACK = timedelta(days=2)
_DECISIVE = frozenset(
    {"DTSTART", "DTEND", "DURATION", "RRULE", "RDATE", "EXDATE", "EXRULE", "RECURRENCE-ID", "STATUS", "SEQUENCE", None}
)
"""What decides when an event is; None stands for a line that is no property at all."""
_READING = threading.Lock()


class Unreadable(ValueError):
    """The text does not tell who is on call when; the words are fit to be shown."""


@dataclass(frozen=True, slots=True)
class _Spot:
    """A moment by the clock on a wall; a day is its first moment."""

    wall: datetime
    where: tzinfo
    is_day: bool

    @property
    def at(self) -> datetime:
        return moment(self.wall, self.where)

    def seen_from(self, where: tzinfo) -> datetime:
        """What the clock shows there; a day is the same day everywhere."""
        return self.wall if self.is_day else self.at.astimezone(where).replace(tzinfo=None)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One VEVENT: a series or a single event, or (``instead_of``) what takes the place of one time of a series."""

    event: Component
    name: str
    begins: _Spot
    length: timedelta
    instead_of: _Spot | None
    and_later: bool
    sequence: int

    @property
    def is_off(self) -> bool:
        return str(self.event.get("STATUS") or "").upper() == "CANCELLED"


@dataclass(frozen=True, slots=True)
class Shift:
    """One time of an event, UTC."""

    event: Component
    begins: datetime
    ends: datetime

    def covers(self, at: datetime) -> bool:
        return self.begins <= at < self.ends


def covering(text: str, at: datetime, home: tzinfo | None, late: Callable[[], bool]) -> list[Shift]:
    """The times that ``at`` lies in. ``home``: the zone of what names none; by default the calendar's own, else UTC.

    Raises ``Unreadable``, and ``TimeoutError`` as soon as ``late`` says so.
    """
    calendars, found = _parsed(text), list[Shift]()
    try:
        for series in _series(calendars, home):
            if late():
                raise TimeoutError
            found += (shift for shift in _times(series, at) if shift.covers(at))
    except (Unreadable, TimeoutError):
        raise
    except Exception:  # what the library let through, and nothing can be made of
        raise Unreadable("it holds an event that cannot be understood") from None
    return found


def _parsed(text: str) -> Sequence[Component]:
    """The calendars. The library remembers each time zone that a text defines, by its name, for all later texts: it is
    made to forget them, since everybody's "Customized Time Zone" is another one."""
    with _READING:
        tzp.use_default()
        try:
            found = Calendar.from_ical(text, multiple=True)
        except Exception:  # it trips over what it cannot read in many ways, and repeats it
            raise Unreadable("it cannot be read as iCalendar") from None
    if not found or any(one.name != "VCALENDAR" for one in found):
        raise Unreadable("it is no iCalendar (BEGIN:VCALENDAR … END:VCALENDAR)")
    return found


# Events as entries.


def _series(calendars: Iterable[Component], home: tzinfo | None) -> list[list[_Entry]]:
    """Events of one UID belong together. Of several versions of the same one the last counts."""
    by_uid: dict[str, dict[datetime | None, _Entry]] = defaultdict(dict)
    count = 0
    for calendar in calendars:
        where = home or _home(calendar)
        for event in calendar.walk("VEVENT"):
            count += 1
            if count > MOST_EVENTS:
                raise Unreadable(f"it has more than {MOST_EVENTS} events")
            entry = _entry(event, where)
            known = by_uid[str(event.get("UID") or f"#{count}")]
            key = entry.instead_of.at if entry.instead_of else None
            if key not in known or entry.sequence >= known[key].sequence:
                known[key] = entry
    return [list(entries.values()) for entries in by_uid.values()]


def _home(calendar: Component) -> tzinfo:
    name = str(calendar.get("X-WR-TIMEZONE") or "UTC")
    try:
        return zone(name)
    except ValueError:
        raise Unreadable("its X-WR-TIMEZONE is no time zone; say timezone") from None


def _entry(event: Component, home: tzinfo) -> _Entry:
    name = f"event {str(event.get('UID') or 'without UID')[:80]!r}"
    if broken := sorted(str(part or "a line") for part, _ in event.errors if part in _DECISIVE):
        raise Unreadable(f"{name}: {', '.join(broken)} cannot be read")
    if "EXRULE" in event:
        raise Unreadable(f"{name}: EXRULE is not understood; write EXDATE")
    begins = _spot(_one(event, "DTSTART", name), home, name)
    instead_of = _spot(_one(event, "RECURRENCE-ID", name), home, name) if "RECURRENCE-ID" in event else None
    later = instead_of is not None and event["RECURRENCE-ID"].params.get("RANGE", "").upper() == "THISANDFUTURE"
    return _Entry(event, name, begins, _length(event, begins, home, name), instead_of, later, _sequence(event))


def _sequence(event: Component) -> int:
    found = event.get("SEQUENCE", 0)
    return int(found) if isinstance(found, int) else 0


def _one(event: Component, key: str, name: str) -> Any:
    found = event.get(key)
    if found is None or isinstance(found, list):
        raise Unreadable(f"{name}: {'several' if found else 'no'} {key}")
    return found


def _spot(given: Any, home: tzinfo, name: str) -> _Spot:
    """A DATE, or a DATE-TIME with a zone, in UTC, or (floating) by the clock at home."""
    value = given.dt
    if isinstance(value, datetime):
        # The library gives a time in a zone that it does not know as one without a zone.
        if value.tzinfo is None and getattr(given, "params", {}).get("TZID"):
            raise Unreadable(f"{name}: a time zone that is neither IANA's nor defined in the calendar")
        return _Spot(value.replace(tzinfo=None), value.tzinfo or home, is_day=False)
    if isinstance(value, date):
        return _Spot(datetime.combine(value, time()), home, is_day=True)
    raise Unreadable(f"{name}: a moment is expected, and is something else")


def _length(event: Component, begins: _Spot, home: tzinfo, name: str) -> timedelta:
    """By the clock on the wall: a shift from nine to nine ends at nine also when the clock was set meanwhile."""
    length = timedelta(days=1 if begins.is_day else 0)
    if "DTEND" in event:
        ends = _spot(_one(event, "DTEND", name), home, name)
        if ends.is_day != begins.is_day:
            raise Unreadable(f"{name}: one of DTSTART and DTEND is a day, the other a time of day")
        length = ends.seen_from(begins.where) - begins.wall
    elif "DURATION" in event:
        length = _one(event, "DURATION", name).dt
    if length < timedelta():
        raise Unreadable(f"{name}: it ends before it begins")
    return length


# Times of a series.


def _times(entries: list[_Entry], at: datetime) -> Iterator[Shift]:
    """Those around a moment; there may be others among them."""
    series = next((one for one in entries if one.instead_of is None), None)
    if series is not None and series.is_off:
        return
    changes = [one for one in entries if one.instead_of is not None]
    for one in changes:
        if not one.is_off:
            yield _shift(one, one.begins.wall, one.begins.where, one.length)
    if series is not None:
        yield from _repeated(series, changes, at)


def _shift(entry: _Entry, wall: datetime, where: tzinfo, length: timedelta) -> Shift:
    return Shift(entry.event, moment(wall, where), moment(wall + length, where))


def _repeated(series: _Entry, changes: list[_Entry], at: datetime) -> Iterator[Shift]:
    where = series.begins.where
    moved = [(one.instead_of.seen_from(where), one) for one in changes if one.instead_of is not None]
    later = sorted(((wall, one) for wall, one in moved if one.and_later), key=lambda row: row[0])
    shifted = {wall: one.begins.seen_from(where) - wall for wall, one in later}
    reach = _SLACK + max((abs(by) for by in shifted.values()), default=timedelta())
    longest = max([series.length, *(one.length for _, one in later)])
    now = at.astimezone(where).replace(tzinfo=None)
    for wall, length in _walls(series, now - reach - longest, now + reach).items():
        if _is_among(series, wall, (one.instead_of for one in changes if one.instead_of is not None)):
            continue
        since = [(begun, one) for begun, one in later if begun <= wall]
        if not since:
            yield _shift(series, wall, where, length)
        elif not since[-1][1].is_off:
            begun, one = since[-1]
            yield _shift(one, wall + shifted[begun], where, one.length)


def _walls(series: _Entry, first: datetime, last: datetime) -> dict[datetime, timedelta]:
    """When it begins by the clock of its own zone, with how long it lasts then."""
    begins, where = series.begins, series.begins.where
    found = {begins.wall: series.length}  # the first time always counts, whether or not the rule gives it
    for rule in _listed(series.event.get("RRULE")):
        found |= dict.fromkeys(_rule(rule, series).between(first, last, inc=True), series.length)
    for given in _dates(series, "RDATE"):
        until: Any = None
        if isinstance(given.dt, tuple):
            start, until = given.dt
            spot = _Spot(start.replace(tzinfo=None), start.tzinfo or where, is_day=False)
        else:
            spot = _spot(given, where, series.name)
        wall, length = spot.seen_from(where), series.length
        if until is not None:
            length = until if isinstance(until, timedelta) else until - start
        found[wall] = length
    left_out = [_spot(given, where, series.name) for given in _dates(series, "EXDATE")]
    return {wall: length for wall, length in found.items() if not _is_among(series, wall, left_out)}


def _is_among(series: _Entry, wall: datetime, spots: Iterable[_Spot]) -> bool:
    """Whether one of them names the time that begins then; a day names all times of that day."""
    begins = series.begins
    for spot in spots:
        if spot.is_day or begins.is_day:
            if spot.seen_from(begins.where).date() == wall.date():
                return True
        elif spot.at == moment(wall, begins.where):
            return True
    return False


def _rule(given: vRecur, series: _Entry) -> Any:
    """The rule by the clock on the wall, without zones: with them, nine o'clock would move when the clock is set."""
    parts = {str(key).upper(): value for key, value in given.items()}
    frequency = str(_listed(parts.get("FREQ"))[0]) if parts.get("FREQ") else ""
    a_day = prod(max(1, len(_listed(parts.get(part)))) for part in _FINER)
    if frequency not in _COARSE or a_day > _MOST_A_DAY:
        # Finer ones would be counted from the first time on, second by second, through years.
        raise Unreadable(f"{series.name}: it repeats too often; FREQ is one of {', '.join(_COARSE)}")
    if series.begins.wall.year < _FIRST_YEAR:
        raise Unreadable(f"{series.name}: it repeats from before {_FIRST_YEAR} on")
    until = _listed(parts.pop("UNTIL", None))
    try:
        rule = rrulestr(vRecur(parts).to_ical().decode(), dtstart=series.begins.wall)  # type: ignore[no-untyped-call]
        return rule.replace(until=_until(until[0], series.begins)) if until else rule
    except Exception:
        raise Unreadable(f"{series.name}: its RRULE cannot be counted") from None


def _until(value: date, begins: _Spot) -> datetime:
    """The last moment, by the clock of the series; a day counts to its end."""
    if not isinstance(value, datetime):
        return datetime.combine(value, time.max)
    return value if value.tzinfo is None else value.astimezone(begins.where).replace(tzinfo=None)


def _dates(series: _Entry, key: str) -> Iterator[Any]:
    for listed in _listed(series.event.get(key)):
        for one in listed.dts:
            # Each value is made anew without the zone that was asked for.
            if isinstance(one.dt, datetime) and one.dt.tzinfo is None and listed.params.get("TZID"):
                raise Unreadable(f"{series.name}: {key} in a time zone that nobody knows")
            yield one


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


__all__ = ["MOST_EVENTS", "Shift", "Unreadable", "covering"]

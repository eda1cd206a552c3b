"""Which events cover a moment, as RFC 5545 has them: repeated, left out, moved, of whole days, in any zone."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quell.plugins.schedules._calendar import MOST_EVENTS, Unreadable, covering
from quell.zones import zone
from tests.plugins.schedules.calendars import calendar, event, zoned

ZURICH = "DTSTART;TZID=Europe/Zurich:", "DTEND;TZID=Europe/Zurich:"
WEEKLY = (f"{ZURICH[0]}20261005T090000", f"{ZURICH[1]}20261012T090000")
"""From Monday at nine to Monday at nine. Winter begins on 25 October."""
ANNA = event("Anna", *WEEKLY, "RRULE:FREQ=WEEKLY;INTERVAL=2")
BEN = event("Ben", f"{ZURICH[0]}20261012T090000", f"{ZURICH[1]}20261019T090000", "RRULE:FREQ=WEEKLY;INTERVAL=2")
DAILY = ("DTSTART:20261101T080000Z", "DTEND:20261101T160000Z")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def names(text: str, at: str, home: str | None = None) -> list[str]:
    found = covering(text, utc(at), zone(home) if home else None, lambda: False)
    return [str(one.event["SUMMARY"]) for one in found]


def ends(text: str, at: str, home: str | None = None) -> list[datetime]:
    return [one.ends for one in covering(text, utc(at), zone(home) if home else None, lambda: False)]


@pytest.mark.parametrize(
    ("at", "who", "until"),
    [
        ("2026-10-12T06:59:59", "Anna", "2026-10-12T07:00"),
        ("2026-10-12T07:00", "Ben", "2026-10-19T07:00"),
        ("2026-10-26T07:59:59", "Anna", "2026-10-26T08:00"),  # an hour more: the shift ends at nine, as it says
        ("2026-10-26T08:00", "Ben", "2026-11-02T08:00"),
        ("2036-10-27T07:59:59", "Anna", "2036-10-27T08:00"),
    ],
)
def test_a_rota_by_the_clock_on_the_wall_has_no_gap(at: str, who: str, until: str) -> None:
    assert names(calendar(ANNA, BEN), at) == [who]
    assert ends(calendar(ANNA, BEN), at) == [utc(until)]


def test_before_it_begins_and_after_it_ends_there_is_nobody() -> None:
    assert names(calendar(ANNA, BEN), "2026-10-05T06:59:59") == []
    once = calendar(event("Anna", *DAILY))
    assert [names(once, f"2026-11-01T{clock}") for clock in ("07:59", "08:00", "15:59", "16:00")] == [
        [], ["Anna"], ["Anna"], []
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "days"),
    [
        ("RRULE:FREQ=DAILY;COUNT=3", [1, 2, 3]),
        ("RRULE:FREQ=DAILY;UNTIL=20261103T080000Z", [1, 2, 3]),
        ("RRULE:FREQ=DAILY;UNTIL=20261103T075959Z", [1, 2]),
        ("RRULE:FREQ=DAILY;UNTIL=20261103", [1, 2, 3]),
        ("RRULE:FREQ=DAILY;INTERVAL=3;COUNT=2", [1, 4]),
        ("RRULE:FREQ=WEEKLY;BYDAY=SU,WE;COUNT=3", [1, 4, 8]),
        ("RRULE:FREQ=MONTHLY;BYDAY=1SU,2MO;COUNT=2", [1, 9]),
        ("RRULE:FREQ=DAILY;COUNT=3\r\nEXDATE:20261102T080000Z", [1, 3]),
        ("RRULE:FREQ=DAILY;COUNT=3\r\nEXDATE:20261101T080000Z,20261102T080000Z", [3]),
        ("RRULE:FREQ=DAILY;COUNT=3\r\nEXDATE:20261101T080000Z\r\nEXDATE:20261102T080000Z", [3]),
        ("RRULE:FREQ=DAILY;COUNT=3\r\nEXDATE;TZID=Europe/Zurich:20261102T090000", [1, 3]),
        ("RRULE:FREQ=DAILY;COUNT=3\r\nEXDATE;VALUE=DATE:20261102", [1, 3]),
        ("RRULE:FREQ=DAILY;COUNT=3\r\nEXDATE:20261102T070000Z", [1, 2, 3]),
        ("RDATE:20261105T080000Z,20261107T080000Z", [1, 5, 7]),
        ("RDATE;VALUE=PERIOD:20261105T080000Z/PT5H,20261107T080000Z/20261107T130000Z", [1, 5, 7]),
        # The first time counts even where the rule would not give it: it is a Sunday.
        ("RRULE:FREQ=WEEKLY;BYDAY=MO;UNTIL=20261110T000000Z", [1, 2, 9]),
        ("RRULE:FREQ=DAILY;COUNT=2\r\nRRULE:FREQ=WEEKLY;COUNT=2", [1, 2, 8]),
    ],
)
def test_repetitions(rule: str, days: list[int]) -> None:
    text = calendar(event("Anna", *DAILY, rule))
    assert [day for day in range(1, 13) if names(text, f"2026-11-{day:02}T12:00")] == days


def test_a_period_has_a_length_of_its_own() -> None:
    text = calendar(event("Anna", *DAILY, "RDATE;VALUE=PERIOD:20261105T080000Z/PT5H"))
    assert ends(text, "2026-11-05T12:00") == [utc("2026-11-05T13:00")]


SERIES = event("Anna", *DAILY, "RRULE:FREQ=DAILY;COUNT=9", uid="rota")


def moved(title: str, instead_of: str, *lines: str, more: str = "") -> str:
    return event(title, f"RECURRENCE-ID{more}:{instead_of}", *lines, uid="rota")


@pytest.mark.parametrize(
    ("change", "at", "who"),
    [
        (moved("Ben", "20261102T080000Z", "DTSTART:20261102T080000Z", "DTEND:20261102T160000Z"), "2026-11-02T12:00", ["Ben"]),
        (moved("Ben", "20261102T080000Z", "DTSTART:20261102T080000Z", "DTEND:20261102T160000Z"), "2026-11-03T12:00", ["Anna"]),
        # To the night: at the old time nobody, at the new one the substitute.
        (moved("Ben", "20261102T080000Z", "DTSTART:20261102T200000Z", "DTEND:20261102T230000Z"), "2026-11-02T12:00", []),
        (moved("Ben", "20261102T080000Z", "DTSTART:20261102T200000Z", "DTEND:20261102T230000Z"), "2026-11-02T22:00", ["Ben"]),
        # Months away, and named by another zone or by the day.
        (moved("Ben", "20261102T080000Z", "DTSTART:20270501T080000Z", "DTEND:20270501T160000Z"), "2027-05-01T12:00", ["Ben"]),
        (moved("Ben", "20261102T090000", "DTSTART:20261102T080000Z", "DTEND:20261102T160000Z", more=";TZID=Europe/Zurich"), "2026-11-02T12:00", ["Ben"]),
        (moved("Ben", "20261102", "DTSTART:20261102T080000Z", "DTEND:20261102T160000Z", more=";VALUE=DATE"), "2026-11-02T12:00", ["Ben"]),
        # Called off.
        (moved("Anna", "20261102T080000Z", "DTSTART:20261102T080000Z", "DTEND:20261102T160000Z", "STATUS:CANCELLED"), "2026-11-02T12:00", []),
        (moved("Anna", "20261102T080000Z", "DTSTART:20261102T080000Z", "DTEND:20261102T160000Z", "STATUS:CANCELLED"), "2026-11-03T12:00", ["Anna"]),
        # From then on, an hour later and an hour longer.
        (moved("Ben", "20261103T080000Z", "DTSTART:20261103T090000Z", "DTEND:20261103T180000Z", more=";RANGE=THISANDFUTURE"), "2026-11-02T12:00", ["Anna"]),
        (moved("Ben", "20261103T080000Z", "DTSTART:20261103T090000Z", "DTEND:20261103T180000Z", more=";RANGE=THISANDFUTURE"), "2026-11-05T08:30", []),
        (moved("Ben", "20261103T080000Z", "DTSTART:20261103T090000Z", "DTEND:20261103T180000Z", more=";RANGE=THISANDFUTURE"), "2026-11-05T17:59", ["Ben"]),
        (moved("Ben", "20261103T080000Z", "DTSTART:20261103T090000Z", "DTEND:20261103T180000Z", more=";RANGE=THISANDFUTURE"), "2026-11-10T12:00", []),
    ],
)  # fmt: skip
def test_one_time_of_a_series_is_changed(change: str, at: str, who: list[str]) -> None:
    assert names(calendar(SERIES, change), at) == who
    assert names(calendar(change, SERIES), at) == who


def test_a_change_stands_for_itself_where_its_series_is_not_there() -> None:
    change = moved("Ben", "20261102T080000Z", "DTSTART:20261102T080000Z", "DTEND:20261102T160000Z")
    assert names(calendar(change), "2026-11-02T12:00") == ["Ben"]


def test_a_series_that_is_called_off_has_no_times_at_all() -> None:
    change = moved("Ben", "20261102T080000Z", "DTSTART:20261102T080000Z", "DTEND:20261102T160000Z")
    off = SERIES.replace("SUMMARY:", "STATUS:CANCELLED\r\nSUMMARY:")
    assert names(calendar(off, change), "2026-11-02T12:00") == []


def test_the_latest_version_of_an_event_counts() -> None:
    old, new = event("Anna", *DAILY, "SEQUENCE:1", uid="e"), event("Ben", *DAILY, "SEQUENCE:2", uid="e")
    assert names(calendar(new, old), "2026-11-01T12:00") == names(calendar(old, new), "2026-11-01T12:00") == ["Ben"]


@pytest.mark.parametrize(
    ("head", "home", "first", "until"),
    [
        ("", None, "2026-10-25T00:00", "2026-10-26T00:00"),
        ("X-WR-TIMEZONE:Europe/Zurich", None, "2026-10-24T22:00", "2026-10-25T23:00"),
        ("", "Europe/Zurich", "2026-10-24T22:00", "2026-10-25T23:00"),
        ("X-WR-TIMEZONE:Asia/Tokyo", "Europe/Zurich", "2026-10-24T22:00", "2026-10-25T23:00"),
    ],
)
@pytest.mark.parametrize(
    "day",
    [
        ("DTSTART;VALUE=DATE:20261025",),
        ("DTSTART;VALUE=DATE:20261025", "DTEND;VALUE=DATE:20261026"),
        ("DTSTART;VALUE=DATE:20261025", "DURATION:P1D"),
        ("DTSTART;VALUE=DATE:20260102", "RDATE;VALUE=DATE:20261025"),
        ("DTSTART;VALUE=DATE:20261018", "RRULE:FREQ=WEEKLY", "EXDATE;VALUE=DATE:20261101"),
        ("DTSTART:20261025T000000", "DTEND:20261026T000000"),
        ("DTSTART:20261025T000000", "DURATION:P1D"),
    ],
)
def test_a_whole_day_is_a_day_at_home(
    head: str, home: str | None, first: str, until: str, day: tuple[str, ...]
) -> None:
    """The twenty-fifth has twenty-five hours in Zurich."""
    text = calendar(event("Anna", *day), head=head)
    assert ends(text, first, home) == [utc(until)]
    assert ends(text, until, home) == []


def test_what_has_no_length_covers_nothing() -> None:
    assert names(calendar(event("Anna", "DTSTART:20261101T080000Z")), "2026-11-01T08:00") == []


@pytest.mark.filterwarnings("ignore::icalendar.error.GloballyUniqueTZIDGuessed")
@pytest.mark.parametrize("name", ["W. Europe Standard Time", "/freeassociation.sourceforge.net/Europe/Zurich"])
def test_zones_by_the_names_of_other_programs(name: str) -> None:
    text = calendar(event("Anna", f"DTSTART;TZID={name}:20261101T090000", "DURATION:PT1H"))
    assert ends(text, "2026-11-01T08:00") == [utc("2026-11-01T09:00")]


def test_a_zone_that_the_calendar_defines_is_its_own() -> None:
    """Two calendars call different zones alike, and either may define it behind the event."""
    shift = event("Anna", "DTSTART;TZID=Customized Time Zone:20261101T090000", "DURATION:PT1H")
    for offset, at in (("+0300", "2026-11-01T06:00"), ("-0500", "2026-11-01T14:00")):
        for parts in ((shift, zoned("Customized Time Zone", offset)), (zoned("Customized Time Zone", offset), shift)):
            assert names(calendar(*parts), at) == ["Anna"]


def test_a_folded_line_is_one() -> None:
    text = calendar(event("Anna", *DAILY)).replace("DTSTART:2026", "DTST\r\n ART:2026").replace("Anna", "An\r\n\tna")
    assert names(text, "2026-11-01T12:00") == ["Anna"]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ((), "event 'anna': no DTSTART"),
        (("DTSTART:20261101T080000Z", "DTSTART:20261102T080000Z"), "several DTSTART"),
        (("DTSTART:20261132T080000Z",), "DTSTART cannot be read"),
        (("DTSTART:20261101T080000Z", "DTEND:soon"), "DTEND cannot be read"),
        (("DTSTART:20261101T080000Z", "DTEND:20261031T080000Z"), "ends before it begins"),
        (("DTSTART:20261101T080000Z", "DTEND;VALUE=DATE:20261102"), "one of DTSTART and DTEND is a day"),
        (("DTSTART;TZID=Mars/Olympus:20261101T080000",), "neither IANA's nor defined"),
        ((*DAILY, "EXDATE;TZID=Mars/Olympus:20261101T080000"), "EXDATE in a time zone that nobody knows"),
        ((*DAILY, "RRULE:FREQ=FORTNIGHTLY"), "RRULE cannot be read"),
        ((*DAILY, "RRULE:INTERVAL=2"), "FREQ is one of DAILY"),
        ((*DAILY, "RRULE:FREQ=SECONDLY"), "repeats too often"),
        ((*DAILY, "RRULE:FREQ=DAILY;BYHOUR=1,2,3,4,5,6,7;BYMINUTE=0,10,20,30"), "repeats too often"),
        ((*DAILY, "RRULE:FREQ=DAILY;BYDAY=2MO,XX"), "cannot be"),
        (("DTSTART:18000101T000000Z", "DURATION:P1D", "RRULE:FREQ=DAILY"), "from before 1900"),
        ((*DAILY, "EXRULE:FREQ=DAILY"), "EXRULE is not understood"),
        ((*DAILY, "EXDATE:never"), "EXDATE cannot be read"),
        ((*DAILY, "a line without a colon"), "a line cannot be read"),
        (("DTSTART:00010101T000000Z", "DTEND:99991231T235959Z", "RDATE:99991231T235959Z"), "cannot be understood"),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_never_nobody(lines: tuple[str, ...], says: str) -> None:
    """Even when the event is not about now."""
    with pytest.raises(Unreadable, match=says):
        names(calendar(event("Anna", *lines)), "2027-11-01T12:00")


def test_a_zone_of_the_calendar_that_is_none_is_told() -> None:
    with pytest.raises(Unreadable, match="X-WR-TIMEZONE"):
        names(
            calendar(head="X-WR-TIMEZONE:Mars/Olympus") + calendar(ANNA, head="X-WR-TIMEZONE:Mars"), "2026-11-01T12:00"
        )


def test_more_events_than_anybody_has_are_not_counted() -> None:
    with pytest.raises(Unreadable, match="more than 20000 events"):
        names(calendar(*[event("A", "DTSTART:20261101T080000Z")] * (MOST_EVENTS + 1)), "2026-11-01T12:00")


def test_who_waits_no_more_is_not_kept() -> None:
    with pytest.raises(TimeoutError):
        covering(calendar(ANNA), utc("2026-11-01T12:00"), None, lambda: True)


LINES = calendar(SERIES, moved("Ben", "20261102T080000Z", *DAILY), zoned("Z", "+0100"), ANNA).split("\r\n")


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=150)
@given(
    st.lists(st.tuples(st.integers(0, len(LINES) - 1), st.text(st.characters(codec="utf-8"), max_size=12)), max_size=4),
    st.sets(st.integers(0, len(LINES) - 1), max_size=2),
)
def test_whatever_is_written_is_read_or_told(added: list[tuple[int, str]], dropped: set[int]) -> None:
    lines = list(LINES)
    for place, text in added:
        lines[place] += text
    text = "\r\n".join(line for number, line in enumerate(lines) if number not in dropped)
    with contextlib.suppress(Unreadable):
        covering(text, utc("2026-11-02T12:00"), None, lambda: False)

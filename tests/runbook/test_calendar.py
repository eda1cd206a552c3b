"""Stretches of time: once, or again and again by the clock on the wall."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from quell.runbook.calendar import Period

ZURICH = ZoneInfo("Europe/Zurich")
WEEKEND = {"from": "2026-01-02T18:00", "for": "62h", "repeat": "FREQ=WEEKLY;BYDAY=FR", "timezone": "Europe/Zurich"}
MOMENTS = st.datetimes(datetime(2026, 1, 3), datetime(2031, 1, 1), timezones=st.just(UTC))


def period(**given: Any) -> Period:
    return Period.model_validate(given)


def zurich(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=ZURICH)  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("moment", "covered"),
    [
        (datetime(2026, 12, 19, 23, 59, 59, tzinfo=UTC), False),
        (datetime(2026, 12, 20, tzinfo=UTC), True),
        (datetime(2027, 1, 4, 23, 59, tzinfo=UTC), True),
        (datetime(2027, 1, 5, tzinfo=UTC), False),
        (datetime(2027, 12, 25, tzinfo=UTC), False),
    ],
)
def test_from_a_day_until_a_day(moment: datetime, covered: bool) -> None:
    whole = period(**{"from": "2026-12-20", "until": "2027-01-05"})
    assert whole.covers(moment) is covered
    assert whole.end_of(moment) == (datetime(2027, 1, 5, tzinfo=UTC) if covered else None)


@pytest.mark.parametrize(
    ("moment", "covered"),
    [
        (zurich(2026, 11, 27, 17, 59), False),
        (zurich(2026, 11, 27, 18, 0), True),
        (zurich(2026, 11, 28, 12, 0), True),
        (zurich(2026, 11, 30, 7, 59), True),
        (zurich(2026, 11, 30, 8, 0), False),
        (zurich(2026, 1, 1, 18, 0), False),
    ],
)
def test_every_weekend(moment: datetime, covered: bool) -> None:
    assert period(**WEEKEND).covers(moment) is covered


def test_by_the_clock_on_the_wall_although_it_is_put_back() -> None:
    # 2026-10-25: 03:00 is 02:00 again. The weekend ends at 08:00 on the wall all the same.
    end = period(**WEEKEND).end_of(zurich(2026, 10, 24, 12, 0))
    assert end == zurich(2026, 10, 26, 8, 0).astimezone(UTC)
    assert end == datetime(2026, 10, 26, 7, 0, tzinfo=UTC)


@given(MOMENTS)
def test_a_weekend_is_what_a_calendar_says(moment: datetime) -> None:
    wall = moment.astimezone(ZURICH).replace(tzinfo=None)
    hours = wall.weekday() * 24 + wall.hour
    assert period(**WEEKEND).covers(moment) is (hours >= 4 * 24 + 18 or hours < 8)


@given(MOMENTS, MOMENTS)
def test_what_was_asked_before_changes_nothing(first: datetime, second: datetime) -> None:
    used, fresh = period(**WEEKEND), period(**WEEKEND)
    used.covers(first)
    assert used.end_of(second) == fresh.end_of(second)


@given(MOMENTS)
def test_it_lasts_until_it_ends(moment: datetime) -> None:
    weekend = period(**WEEKEND)
    if (end := weekend.end_of(moment)) is not None:
        assert moment < end <= moment + timedelta(hours=63)
        assert weekend.covers(end - timedelta(seconds=1))
        assert not weekend.covers(end)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"from": "2026-12-20"}, "either until"),
        ({"from": "2026-12-20", "until": "2026-12-21", "for": "1h"}, "either until"),
        ({"from": "2026-12-20", "until": "2026-12-20"}, "ends before it begins"),
        ({"from": "2026-12-20", "for": 0}, "ends before it begins"),
        ({"from": "2026-12-20T00:00+01:00", "for": "1h"}, "leave the offset out"),
        ({"from": "2026-12-20", "for": "1h", "timezone": "Europe/Zurch"}, "not a time zone"),
        ({"from": "2026-12-20", "for": "1h", "repeat": "every friday"}, "no RRULE"),
        ({"from": "2026-12-20", "for": "1h", "repeat": "FREQ=DAILY;BYDAY=XX"}, "no RRULE"),
        ({"from": "2026-12-20", "for": "1h", "repeat": "FREQ=SECONDLY"}, "DAILY"),
        ({"from": "2026-12-20", "for": "1h", "repaet": "FREQ=DAILY"}, "repaet"),
        ({"from": "soon", "for": "1h"}, "from"),
    ],
)
def test_what_is_no_period_is_said(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        period(**given)


# When it begins next.


@pytest.mark.parametrize(
    ("given", "now", "begins"),
    [
        (WEEKEND, zurich(2026, 11, 27, 17, 59), zurich(2026, 11, 27, 18)),
        (WEEKEND, zurich(2026, 11, 27, 18), zurich(2026, 12, 4, 18)),
        (WEEKEND, zurich(2026, 11, 28, 12), zurich(2026, 12, 4, 18)),
        ({**WEEKEND, "repeat": "FREQ=WEEKLY;BYDAY=FR;COUNT=2"}, zurich(2026, 1, 9, 18), None),
        (
            {"from": "2026-12-20", "until": "2027-01-05"},
            datetime(2026, 12, 19, tzinfo=UTC),
            datetime(2026, 12, 20, tzinfo=UTC),
        ),
        ({"from": "2026-12-20", "until": "2027-01-05"}, datetime(2026, 12, 20, tzinfo=UTC), None),
    ],
)
def test_when_it_begins_next(given: dict[str, Any], now: datetime, begins: datetime | None) -> None:
    assert period(**given).next_of(now) == begins


def test_what_begins_in_the_hour_that_comes_twice_is_not_told_as_next_when_it_has_begun() -> None:
    """At 02:30 the clock was put back from 03:00 to 02:00 on 25 October 2026: 00:30 UTC is before, 01:30 after it."""
    daily = period(**{"from": "2026-10-01T02:45", "for": "1h", "repeat": "FREQ=DAILY", "timezone": "Europe/Zurich"})
    before, after = datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    assert daily.next_of(before) == datetime(2026, 10, 25, 0, 45, tzinfo=UTC)
    assert daily.next_of(after) == datetime(2026, 10, 26, 1, 45, tzinfo=UTC)


@given(MOMENTS)
def test_next_is_never_now_or_before(moment: datetime) -> None:
    weekend = period(**WEEKEND)
    begins = weekend.next_of(moment)
    assert begins is not None
    assert begins > moment
    assert weekend.covers(begins)
    assert not weekend.covers(begins - timedelta(seconds=1))

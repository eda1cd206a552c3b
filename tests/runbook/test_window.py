"""Windows by the clock on the wall: open, closed, over midnight, over the change of clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.runbook.window import parse_window


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("window", "now", "hours"),
    [
        ("02:00-04:00", "2026-11-28T01:30", 0.5),
        ("02:00-04:00", "2026-11-28T02:00", 0),
        ("02:00-04:00", "2026-11-28T04:00", 22),
        ("22:00-05:00", "2026-11-28T23:00", 0),
        ("22:00-05:00", "2026-11-28T04:59", 0),
        ("22:00-05:00", "2026-11-28T05:00", 17),
        ("02:00-04:00 Europe/Zurich", "2026-11-28T00:30", 0.5),
        ("02:00-04:00 Europe/Zurich", "2026-07-28T00:30", 0),
        ("02:00-04:00 Europe/Zurich", "2026-10-24T23:00", 1),  # clocks go back on the 25th, at 3 in summer time
        ("12:00-13:00 Europe/Zurich", "2026-03-28T12:00", 22),  # and forward on the 29th: a day of 23 hours
    ],
)
def test_how_long_until_it_opens(window: str, now: str, hours: float) -> None:
    assert parse_window(window).wait_s(at(now)) == hours * 3600


@given(st.integers(0, 1439), st.integers(0, 1439), st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)))
def test_after_waiting_it_is_open(opens: int, closes: int, now: datetime) -> None:
    if opens == closes:
        return
    window = parse_window(f"{opens // 60:02}:{opens % 60:02}-{closes // 60:02}:{closes % 60:02}")
    left = window.wait_s(now.replace(tzinfo=UTC))
    assert 0 <= left <= 86_400
    assert window.holds(now.replace(tzinfo=UTC) + timedelta(seconds=left))


@pytest.mark.parametrize(
    "text", ["", "2-4", "02:00", "25:00-26:00", "02:00-02:00", "02:00-04:00 Mars/Base", "02:60-03:00"]
)
def test_what_is_no_window(text: str) -> None:
    with pytest.raises(ValueError, match=r"window|zone|minute|must be"):
        parse_window(text)

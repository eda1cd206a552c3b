"""Time zones by name, and the clock on the wall where it is set."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from quell.zones import moment, zone

ZURICH = zone("Europe/Zurich")


@pytest.mark.parametrize("name", ["utc", "UTC", "Z"])
def test_utc_has_several_names(name: str) -> None:
    assert zone(name) is UTC


@pytest.mark.parametrize("name", ["", "Mars/Olympus", "../etc/passwd", "Europe", "a" * 5000, "\x00"])
def test_what_is_no_zone_is_told(name: str) -> None:
    with pytest.raises(ValueError, match=r"is not a time zone such as UTC or Europe/Zurich"):
        zone(name)


@pytest.mark.parametrize(
    ("wall", "at"),
    [
        (datetime(2026, 7, 1, 9), datetime(2026, 7, 1, 7, tzinfo=UTC)),
        (datetime(2026, 12, 1, 9), datetime(2026, 12, 1, 8, tzinfo=UTC)),
        # 02:30 comes twice: the first time counts. In spring it never comes: it is as long after midnight.
        (datetime(2026, 10, 25, 2, 30), datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
        (datetime(2026, 10, 25, 2, 30, fold=1), datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
        (datetime(2026, 3, 29, 2, 30), datetime(2026, 3, 29, 1, 30, tzinfo=UTC)),
    ],
)
def test_what_the_clock_shows_is_a_moment(wall: datetime, at: datetime) -> None:
    assert moment(wall, ZURICH) == at

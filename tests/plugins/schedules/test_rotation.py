"""Turns counted by the clock on the wall: one at a time, without a gap, also where the clock is set."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from quell.plugins.schedules import rotation
from quell.ports import OnCall
from tests.plugins.world import probe_over

pytestmark = pytest.mark.anyio

WEEKLY = {"members": ["anna", "ben", "chloe"], "starts": "2026-10-19T09:00", "every": "1w", "timezone": "Europe/Zurich"}


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


async def at(moment: str | datetime, **changes: Any) -> tuple[OnCall, ...]:
    params = rotation.Params.model_validate(WEEKLY | changes)
    async with probe_over() as probe:
        return await rotation.on_call(params, probe, moment if isinstance(moment, datetime) else utc(moment))


@pytest.mark.parametrize(
    ("moment", "name", "until"),
    [
        ("2026-10-19T07:00", "anna", "2026-10-26T08:00"),  # an hour longer than a week: winter begins
        ("2026-10-26T07:59:59", "anna", "2026-10-26T08:00"),
        ("2026-10-26T08:00", "ben", "2026-11-02T08:00"),
        ("2026-11-03T00:00", "chloe", "2026-11-09T08:00"),
        ("2026-11-09T08:00", "anna", "2026-11-16T08:00"),
        ("2027-03-22T08:00", "ben", "2027-03-29T07:00"),  # an hour shorter: summer begins
    ],
)
async def test_turns_follow_the_clock_on_the_wall(moment: str, name: str, until: str) -> None:
    assert await at(moment) == (OnCall(name, (), utc(until)),)


async def test_before_the_first_turn_nobody_is_on_call() -> None:
    assert await at("2026-10-19T06:59:59") == ()


async def test_a_moment_with_another_offset_is_the_same_moment() -> None:
    assert await at(datetime.fromisoformat("2026-10-26T17:00:00+09:00")) == await at("2026-10-26T08:00")


async def test_a_handover_in_the_hour_that_comes_twice_happens_once() -> None:
    nightly = {"starts": "2026-10-24T02:30", "every": "1d"}
    names = [(await at(f"2026-10-25T{clock}", **nightly))[0].name for clock in ("00:29", "00:30", "01:00", "01:30")]
    assert names == ["anna", "ben", "ben", "ben"]


async def test_a_member_has_other_names() -> None:
    (found,) = await at("2026-10-19T07:00", members=[{"name": "anna", "also": ["anna@example.org", "U1"]}])
    assert (found.name, found.also) == ("anna", ("anna@example.org", "U1"))


async def test_a_day_as_the_start_is_its_first_moment() -> None:
    (found,) = await at("2026-10-18T22:00", starts=date(2026, 10, 19))
    assert (found.name, found.until) == ("anna", utc("2026-10-25T23:00"))


@pytest.mark.parametrize(
    ("hours", "moment", "until"),
    [
        ("08:00-18:00", "2026-10-20T05:59", None),
        ("08:00-18:00", "2026-10-20T06:00", "2026-10-20T16:00"),
        ("08:00-18:00", "2026-10-20T16:00", None),
        ("22:00-06:00", "2026-10-20T20:00", "2026-10-21T04:00"),
        ("22:00-06:00", "2026-10-20T03:59", "2026-10-20T04:00"),
        ("22:00-06:00", "2026-10-20T04:00", None),
        ("00:00-12:00", "2026-10-26T07:00", "2026-10-26T08:00"),  # the turn ends before the hours do
    ],
)
async def test_hours_are_the_part_of_a_day(hours: str, moment: str, until: str | None) -> None:
    found = await at(moment, hours=hours)
    assert [one.until for one in found] == ([utc(until)] if until else [])


@given(
    start=st.datetimes(datetime(2020, 1, 1), datetime(2027, 1, 1)),
    every=st.integers(1, 500),
    later=st.timedeltas(timedelta(), timedelta(days=2000)),
    name=st.sampled_from(["UTC", "Europe/Zurich", "Australia/Lord_Howe", "America/St_Johns", "Africa/Casablanca"]),
)
def test_turns_follow_each_other_without_a_gap(start: datetime, every: int, later: timedelta, name: str) -> None:
    members = [str(number) for number in range(7)]
    params = rotation.Params(members=members, starts=start, every=f"{every}h", timezone=name)
    where = rotation.zone(name)
    moment = (start + later).replace(tzinfo=where).astimezone(UTC)
    found = rotation._turn(params, moment, where)
    if found is None:
        assert moment < start.replace(tzinfo=where, fold=0).astimezone(UTC)
        return
    number, ends = found
    assert moment < ends <= moment + timedelta(hours=every + 2)
    after = rotation._turn(params, ends, where)
    assert after is not None
    # A turn that lies in an hour which never comes has no time at all.
    assert after[0] - number in (1, 2)


@pytest.mark.parametrize(
    ("changes", "place", "says"),
    [
        ({"members": []}, "members", "name at least one member"),
        ({"members": [{"name": ""}]}, "name", "at least 1 character"),
        ({"members": [{"name": "anna", "als": []}]}, "als", "Extra inputs"),
        ({"starts": "2026-10-19T09:00+02:00"}, "starts", "leave the offset out"),
        ({"starts": "1066-10-14"}, "starts", "between 1970 and 9000"),
        ({"every": "7"}, "every", "such as 1w, 2d or 12h"),
        ({"every": "30m"}, "every", "such as 1w, 2d or 12h"),
        ({"every": "0d"}, "every", "an hour or more"),
        ({"every": "999w"}, "every", "no longer than ten years"),
        ({"timezone": "Europe/Zürich"}, "timezone", "is not a time zone"),
        ({"hours": "9-17"}, "hours", "no hours such as"),
        ({"hours": "09:00-09:00"}, "hours", "same minute"),
    ],
)
def test_what_is_wrong_is_told_at_its_place(changes: dict[str, Any], place: str, says: str) -> None:
    with pytest.raises(ValidationError) as told:
        rotation.Params.model_validate(WEEKLY | changes)
    (error,) = told.value.errors()
    assert error["loc"][-1] == place
    assert says in error["msg"]

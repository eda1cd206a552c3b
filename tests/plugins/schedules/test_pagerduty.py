"""The PagerDuty schedule against a fake of the REST API."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from quell.errors import Permanent, Transient
from quell.plugins.schedules import pagerduty
from quell.ports import Connection, OnCall
from tests.fakes.pagerduty_api import FakePagerDutyApi
from tests.fakes.serving import Fault
from tests.plugins.world import probe_over

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ANNA = OnCall("Anna Meier", ("anna@example.org", "PANNA"), NOON + HOUR)
BEN = OnCall("Ben Ito", ("ben@example.org", "PBEN"), NOON + 3 * HOUR)


@pytest.fixture
def api() -> Iterator[FakePagerDutyApi]:
    with FakePagerDutyApi() as api:
        api.add_user("PANNA", "Anna Meier", "anna@example.org")
        api.add_user("PBEN", "Ben Ito", "ben@example.org")
        turns = [("PANNA", NOON - HOUR, NOON + HOUR), ("PBEN", NOON + HOUR, NOON + 3 * HOUR)]
        api.add_schedule("PSHOP", *turns, policies=3)
        yield api


async def ask(
    api: FakePagerDutyApi, at: datetime = NOON, *, key: str | None = None, schedule: Any = "PSHOP", **more: Any
) -> tuple[OnCall, ...]:
    there = Connection("rest", "pagerduty_api", api.url, password=api.token if key is None else key, **more)
    async with probe_over(there) as probe:
        return await pagerduty.on_call(pagerduty.Params(schedule=schedule), probe, at)


async def test_one_person_however_many_policies_use_the_schedule(api: FakePagerDutyApi) -> None:
    assert await ask(api) == (ANNA,)
    assert await ask(api, NOON + HOUR) == (BEN,)
    assert await ask(api, NOON + 3 * HOUR - timedelta(seconds=1)) == (BEN,)


async def test_who_comes_within_the_minute_is_not_on_call_yet(api: FakePagerDutyApi) -> None:
    assert await ask(api, NOON + HOUR - timedelta(seconds=1)) == (ANNA,)


async def test_the_question_in_pagerdutys_terms(api: FakePagerDutyApi) -> None:
    await ask(api, datetime.fromisoformat("2026-11-02T21:00:00+09:00"))
    (request,) = api.requests
    assert request.query["schedule_ids[]"] == ["PSHOP"]
    assert (request.arg("since"), request.arg("until")) == ("2026-11-02T12:00:00Z", "2026-11-02T12:01:00Z")
    assert (request.query["include[]"], request.arg("earliest")) == (["users"], "true")


async def test_nobody_is_an_answer(api: FakePagerDutyApi) -> None:
    assert await ask(api, NOON + 9 * HOUR) == ()
    api.add_schedule("PUNUSED", ("PBEN", None, None), policies=0)
    assert await ask(api, schedule="PUNUSED") == ()


async def test_a_schedule_that_does_not_exist_is_none(api: FakePagerDutyApi) -> None:
    for schedule in ("PSHPO", ["PSHOP", "PSHPO"]):
        with pytest.raises(Permanent, match="pagerduty: HTTP 404 Not Found") as told:
            await ask(api, schedule=schedule)
        assert told.value.error_class == "missing"


async def test_several_schedules_and_a_shift_without_end(api: FakePagerDutyApi) -> None:
    api.add_schedule("PLEAD", ("PBEN", None, None))
    api.add_schedule("POTHER", ("PANNA", NOON - HOUR, NOON + 2 * HOUR))
    found = await ask(api, schedule=["PSHOP", "PLEAD", "POTHER"])
    assert {one.name: one.until for one in found} == {"Anna Meier": NOON + 2 * HOUR, "Ben Ito": None}


async def test_every_page_is_read(api: FakePagerDutyApi) -> None:
    api.add_schedule("PALL", *((f"P{n}", NOON - HOUR, NOON + HOUR) for n in range(250)))
    for number in range(250):
        api.add_user(f"P{number}", f"User {number}", f"{number}@example.org")
    assert len(await ask(api, schedule="PALL")) == 250
    assert [request.arg("offset") for request in api.requests] == ["0", "100", "200"]


async def test_pages_without_end_are_told(api: FakePagerDutyApi) -> None:
    api.add_schedule("PALL", ("PANNA", NOON - HOUR, NOON + HOUR), policies=2001)
    with pytest.raises(Permanent, match="more than 2000 on-calls") as told:
        await ask(api, schedule="PALL")
    assert told.value.error_class == "too_large"


async def test_a_throttle_says_when_to_come_back(api: FakePagerDutyApi) -> None:
    api.inject(Fault.refuse(429), Fault.refuse(429, retry_after=9))
    for seconds in (17.0, 9.0):
        with pytest.raises(Transient, match="HTTP 429 Rate Limit Exceeded") as told:
            await ask(api)
        assert (told.value.error_class, told.value.retry_after) == ("exhausted", seconds)


async def test_a_wrong_key_is_permanent_and_not_shown(api: FakePagerDutyApi) -> None:
    with pytest.raises(Permanent, match="HTTP 401 Unauthorized") as told:
        await ask(api, key="w+secret-key")
    assert told.value.error_class == "denied"
    assert "w+secret-key" not in str(told.value)
    api.inject(Fault.refuse(403))
    with pytest.raises(Permanent, match="HTTP 403 Access Denied") as told:
        await ask(api)
    assert told.value.error_class == "denied"


async def test_what_passes_is_transient(api: FakePagerDutyApi) -> None:
    api.inject(Fault.refuse(500), Fault.cut())
    for error_class in ("busy", "unreachable"):
        with pytest.raises(Transient) as told:
            await ask(api)
        assert told.value.error_class == error_class


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"[]", "no JSON object"),
        (b'{"oncalls": {}}', "without a list of on-calls"),
        (b'{"oncalls": ["Anna"]}', "without a list of on-calls"),
        (b'{"oncalls": [{"start": "soon", "end": null}]}', "a moment that is none"),
        (b'{"oncalls": [{"start": "2026-11-02T12:00:00", "end": null}]}', "a moment that is none"),
        (b'{"oncalls": [{"start": null, "end": null, "schedule": {"id": "PSHOP"}}]}', "without a user"),
        (
            b'{"oncalls": [{"start": null, "end": null, "schedule": {"id": "PSHOP"}, "user": {"id": "P1"}}]}',
            "a user without a name",
        ),
    ],
)
async def test_an_answer_that_is_none_is_not_nobody(api: FakePagerDutyApi, body: bytes, says: str) -> None:
    api.inject(Fault.malformed(body))
    with pytest.raises(Permanent, match=says) as told:
        await ask(api)
    assert told.value.error_class == "invalid"


async def test_a_key_that_is_repeated_is_hidden(api: FakePagerDutyApi) -> None:
    said = f'{{"error": {{"message": "no {api.token} here"}}}}'
    api.inject(Fault("refuse", status=400, body=said.encode()))
    with pytest.raises(Permanent, match="no ••• here"):
        await ask(api)


async def test_an_access_token_goes_in_its_own_header(api: FakePagerDutyApi) -> None:
    with pytest.raises(Permanent, match="401"):
        await ask(api, key="", headers={"Authorization": "Bearer pd-oauth"})
    assert api.requests[0].headers["authorization"] == "Bearer pd-oauth"


async def test_a_connection_without_a_key_is_refused(api: FakePagerDutyApi) -> None:
    with pytest.raises(Permanent, match="no token as its password"):
        await ask(api, key="")
    assert not api.requests

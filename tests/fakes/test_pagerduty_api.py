"""PagerDuty's REST API: who may ask, entries by policy, pages of them, and errors in its words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.fakes.pagerduty_api import ACCEPT, FakePagerDutyApi
from tests.fakes.serving import Fault

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def api() -> Iterator[FakePagerDutyApi]:
    with FakePagerDutyApi() as api:
        api.add_user("PANNA", "Anna", "anna@example.org")
        api.add_user("PBEN", "Ben", "ben@example.org")
        turns = [("PANNA", NOON - HOUR, NOON + HOUR), ("PBEN", NOON + HOUR, NOON + 3 * HOUR)]
        api.add_schedule("PSHOP", *turns, policies=2)
        api.add_schedule("PUNUSED", ("PBEN", None, None), policies=0)
        yield api


def ask(api: FakePagerDutyApi, path: str = "/oncalls", **query: Any) -> httpx.Response:
    window = {"since": NOON.isoformat(), "until": NOON.isoformat(), "schedule_ids[]": "PSHOP"} | query
    headers = {"Authorization": f"Token token={api.token}", "Accept": ACCEPT}
    return httpx.get(f"{api.url}{path}", params=window if path == "/oncalls" else None, headers=headers)


def test_an_entry_for_each_policy_that_uses_the_schedule(api: FakePagerDutyApi) -> None:
    found = ask(api).json()
    assert [(one["user"]["summary"], one["start"], one["end"]) for one in found["oncalls"]] == [
        ("Anna", "2026-11-02T11:00:00Z", "2026-11-02T13:00:00Z")
    ] * 2
    assert found["more"] is False
    assert "email" not in found["oncalls"][0]["user"]
    assert ask(api, **{"include[]": "users"}).json()["oncalls"][0]["user"]["email"] == "anna@example.org"
    assert ask(api, **{"schedule_ids[]": "PUNUSED"}).json()["oncalls"] == []
    assert ask(api, **{"schedule_ids[]": "PNOBODY"}).json()["oncalls"] == []


def test_a_window_and_the_earliest_in_it(api: FakePagerDutyApi) -> None:
    api.shifts.append(api.shifts[0].__class__("PSHOP", "PANNA", NOON + 3 * HOUR, None))
    day = {"until": (NOON + 24 * HOUR).isoformat()}
    assert len(ask(api, **day).json()["oncalls"]) == 6
    assert len(ask(api, **day, earliest="true").json()["oncalls"]) == 4


def test_pages(api: FakePagerDutyApi) -> None:
    first = ask(api, limit="1").json()
    assert (len(first["oncalls"]), first["more"]) == (1, True)
    assert ask(api, limit="1", offset="1").json()["more"] is False


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"since": "yesterday"}, "Since must be a valid ISO 8601 datetime."),
        ({"until": "2026-11-01T00:00:00Z"}, "Until must be after Since."),
        ({"limit": "101"}, "Limit must be at most 100."),
    ],
)
def test_what_is_refused(api: FakePagerDutyApi, query: dict[str, str], said: str) -> None:
    answer = ask(api, **query)
    assert (answer.status_code, answer.json()["error"]["errors"]) == (400, [said])


def test_whether_a_schedule_exists(api: FakePagerDutyApi) -> None:
    assert ask(api, "/schedules/PUNUSED").json()["schedule"]["id"] == "PUNUSED"
    assert ask(api, "/schedules/PNOBODY").json() == {"error": {"message": "Not Found", "code": 2100}}


def test_strangers_and_throttling(api: FakePagerDutyApi) -> None:
    assert httpx.get(f"{api.url}/oncalls").status_code == 401
    api.inject(Fault.refuse(429))
    throttled = ask(api)
    assert (throttled.status_code, throttled.headers["ratelimit-reset"]) == (429, "17")

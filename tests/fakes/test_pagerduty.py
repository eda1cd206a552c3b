"""PagerDuty's Events API v2: accepted events, the errors it lists, alerts by dedup_key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.fakes.pagerduty import FakePagerDuty
from tests.fakes.serving import Fault

KEY = "R" + "0" * 31


@pytest.fixture
def pager() -> Iterator[FakePagerDuty]:
    with FakePagerDuty(KEY) as pager:
        yield pager


def event(action: str = "trigger", **changes: Any) -> dict[str, Any]:
    payload = {"summary": "5xx at 12 %", "source": "prometheus", "severity": "critical"}
    return {"routing_key": KEY, "event_action": action, "dedup_key": "pay/5xx", "payload": payload, **changes}


def send(pager: FakePagerDuty, body: Any) -> httpx.Response:
    return httpx.post(f"{pager.url}/v2/enqueue", json=body)


def test_an_alert_opens_is_acknowledged_and_resolves(pager: FakePagerDuty) -> None:
    answer = send(pager, event())
    assert answer.status_code == 202
    assert answer.json() == {"status": "success", "message": "Event processed", "dedup_key": "pay/5xx"}
    send(pager, event())
    assert (pager.alerts["pay/5xx"].state, len(pager.alerts["pay/5xx"].events)) == ("triggered", 2)
    send(pager, event("acknowledge", payload=None))
    assert pager.alerts["pay/5xx"].state == "acknowledged"
    send(pager, event("resolve", payload=None))
    assert pager.alerts["pay/5xx"].state == "resolved"
    send(pager, event())
    assert (pager.alerts["pay/5xx"].state, len(pager.alerts["pay/5xx"].events)) == ("triggered", 1)


def test_a_trigger_without_a_key_is_given_one_and_resolving_nothing_is_accepted(pager: FakePagerDuty) -> None:
    key = send(pager, event(dedup_key=None)).json()["dedup_key"]
    assert pager.alerts[key].state == "triggered"
    assert send(pager, event("resolve", dedup_key="never seen")).status_code == 202
    assert "never seen" not in pager.alerts


PAYLOAD = event()["payload"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"routing_key": ""}, "'routing_key' is missing or blank"),
        ({"routing_key": "short"}, "Length of 'routing_key' is incorrect (should be 32 characters)"),
        ({"event_action": None}, "'event_action' is missing or blank"),
        ({"event_action": "page"}, "'event_action' is invalid"),
        ({"event_action": "resolve", "dedup_key": None}, "'dedup_key' is missing or blank"),
        ({"payload": None}, "'payload' is missing or blank"),
        ({"payload": {**PAYLOAD, "summary": ""}}, "'payload.summary' is missing or blank"),
        ({"payload": {**PAYLOAD, "summary": "x" * 1025}}, "'payload.summary' is too long"),
        ({"payload": {**PAYLOAD, "source": None}}, "'payload.source' is missing or blank"),
        ({"payload": {**PAYLOAD, "severity": "none"}}, "'payload.severity' is invalid (must be one of"),
        ({"payload": {**PAYLOAD, "timestamp": "yesterday"}}, "'payload.timestamp' is invalid"),
    ],
)
def test_what_is_refused_and_in_which_words(pager: FakePagerDuty, changes: dict[str, Any], said: str) -> None:
    answer = send(pager, event(**changes))
    assert answer.status_code == 400
    assert answer.json()["status"] == "invalid event"
    assert any(said in error for error in answer.json()["errors"])
    assert not pager.events


def test_all_errors_are_listed_at_once(pager: FakePagerDuty) -> None:
    assert len(send(pager, event(payload={"severity": "loud"})).json()["errors"]) == 3


def test_the_limits_are_inclusive(pager: FakePagerDuty) -> None:
    longest = event(payload={**PAYLOAD, "summary": "x" * 1024})
    assert send(pager, longest).status_code == 202
    room = 512 * 1024 - len(httpx.Request("POST", "http://x", json=event(client="")).content)
    assert send(pager, event(client="x" * room)).status_code == 202
    assert send(pager, event(client="x" * (room + 1))).status_code == 400


def test_bodies_that_are_no_events_and_throttling(pager: FakePagerDuty) -> None:
    assert httpx.post(f"{pager.url}/v2/enqueue", content=b"{").status_code == 400
    assert send(pager, []).status_code == 400
    assert httpx.post(f"{pager.url}/v1/enqueue").status_code == 404
    pager.inject(Fault.refuse(429, retry_after=30))
    throttled = send(pager, event())
    assert (throttled.status_code, throttled.headers["retry-after"]) == (429, "30")
    assert throttled.json()["status"] == "throttle exceeded"

"""PagerDuty's Events API v2: what an event means, and every fault told in PagerDuty's words."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.errors import InvalidInput
from quell.incident.alert import Alert, AlertStatus, Severity
from quell.plugins.sources.pagerduty_events import Params, parse, verify
from tests.plugins.sources.posted import as_bytes, damaged, or_refused, places, put, secret, values

RECEIVED = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
KEY = "R0123456789abcdef0123456789abcde"

EVENT: dict[str, Any] = {
    "routing_key": KEY, "event_action": "trigger", "dedup_key": "payment/pool",
    "payload": {
        "summary": "the pool of payment is full", "source": "prometheus-eu", "severity": "critical",
        "timestamp": "2026-03-04T05:05:00.000+0100", "component": "pool", "group": "payments", "class": "PoolFull",
        "custom_details": {"service": "payment", "in_use": 100, "firing": True, "environment": "production"},
    },
    "client": "Prometheus", "client_url": "https://prometheus.example/graph",
    "links": [{"href": "https://example.com/runbook", "text": "runbook"}], "images": [],
}  # fmt: skip


def read(document: Any, **params: Any) -> tuple[list[Alert], list[tuple[str, Any]]]:
    return parse(as_bytes(document), {}, Params(**params), RECEIVED)


def one(document: Any, **params: Any) -> Alert:
    (alert,), quarantined = read(document, **params)
    assert quarantined == []
    return alert


def faults(document: Any) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        read(document)
    return [problem.message for problem in caught.value.problems]


def payload(**fields: Any) -> dict[str, Any]:
    return {**EVENT, "payload": {**EVENT["payload"], **fields}}


def test_an_event_comes_through_with_all_it_says() -> None:
    alert = one(EVENT, labels={"region": "eu"}, tenant="acme")
    assert (alert.name, alert.status, alert.fingerprint) == ("PoolFull", AlertStatus.FIRING, "payment/pool")
    assert (alert.service, alert.severity, alert.tenant) == ("payment", Severity.P1, "acme")
    assert alert.labels == {
        "alertname": "PoolFull", "service": "payment", "in_use": "100", "firing": "true", "environment": "production",
        "source": "prometheus-eu", "component": "pool", "group": "payments", "class": "PoolFull",
        "severity": "critical", "client": "Prometheus", "region": "eu",
    }  # fmt: skip
    assert (alert.environment, alert.region) == ("", "eu")
    assert alert.summary == "the pool of payment is full"
    assert alert.starts_at == datetime(2026, 3, 4, 4, 5, tzinfo=UTC)
    assert alert.url == "https://prometheus.example/graph"
    assert alert.details["links"] == EVENT["links"]
    assert KEY not in alert.model_dump_json()


@pytest.mark.parametrize(
    ("severity", "meant"),
    [("critical", Severity.P1), ("error", Severity.P2), ("warning", Severity.P3), ("info", Severity.P4)],
)
def test_each_severity_has_its_own(severity: str, meant: Severity) -> None:
    assert one(payload(severity=severity)).severity is meant


def test_the_name_is_the_alertname_else_the_class_else_the_summary() -> None:
    assert one(payload(custom_details={"alertname": "A"})).name == "A"
    assert one(payload(custom_details=None)).name == "PoolFull"
    assert one(payload(**{"class": None, "custom_details": "text"})).name == "the pool of payment is full"


def test_the_site_says_what_it_is_about_where_no_label_does() -> None:
    assert one(payload(custom_details={}), service="checkout").service == "checkout"
    assert one(EVENT, service="checkout").service == "payment"


def test_a_trigger_without_a_key_is_given_one_of_its_own() -> None:
    keys = {one({**EVENT, "dedup_key": key}).fingerprint for key in (None, "", None)}
    assert len(keys) == 3
    assert all(len(key) == 32 for key in keys)


@pytest.mark.parametrize(
    ("action", "status"), [("acknowledge", AlertStatus.ACKNOWLEDGED), ("resolve", AlertStatus.RESOLVED)]
)
@pytest.mark.parametrize("more", [{}, {"payload": None}, {"payload": {"summary": 5}}, EVENT])
def test_a_later_word_needs_the_key_alone(action: str, status: AlertStatus, more: dict[str, Any]) -> None:
    alert = one({**more, "routing_key": KEY, "event_action": action, "dedup_key": "payment/pool", "client": "Ines"})
    assert (alert.status, alert.fingerprint, alert.labels) == (status, "payment/pool", {})
    assert alert.details == {"by": "Ines"}


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"routing_key": KEY}, ["'event_action' is missing or blank"]),
        (
            {**EVENT, "event_action": "open"},
            ["'event_action' is invalid (must be one of the following: 'trigger', 'acknowledge' or 'resolve')"],
        ),
        ({"event_action": "resolve"}, ["'dedup_key' is missing or blank"]),
        ({**EVENT, "dedup_key": "k" * 256}, ["'dedup_key' is too long (maximum is 255 characters)"]),
        ({**EVENT, "dedup_key": {"a": 1}}, ["'dedup_key' is invalid (must be a string)"]),
        ({**EVENT, "payload": None}, ["'payload' is missing or blank"]),
        (
            {**EVENT, "payload": {"a": 1}},
            [f"'payload.{name}' is missing or blank" for name in ("summary", "source", "severity")],
        ),
        (
            payload(severity="bad", summary="s" * 1_025, timestamp="soon"),
            [
                "'payload.severity' is invalid (must be one of the following: 'critical', 'warning', 'error' or 'info')",
                "'payload.summary' is too long (maximum is 1024 characters)",
                "'payload.timestamp' is invalid (must be ISO 8601)",
            ],
        ),
        (payload(source=5), ["'payload.source' is invalid (must be a string)"]),
        ({**EVENT, "links": [{}], "images": "x"}, [
            "'links[0].href' is missing or blank", "'images' is invalid (must be an array)",
        ]),
        (b" " * (512 * 1024 + 1), ["Event object exceeds the maximum size of 512 KB"]),
    ],
)  # fmt: skip
def test_every_fault_is_told_at_once(document: Any, told: list[str]) -> None:
    assert faults(document) == told


def test_what_is_no_json_is_told() -> None:
    assert faults(b"{")[0].startswith("Event object is not valid JSON")
    assert faults(b"[]")[0].startswith("Event object is not valid JSON")


@pytest.fixture
def params(tmp_path: Path) -> Params:
    return Params.model_validate(
        {"routing_keys": [secret(tmp_path, "old", "of-yesterday"), secret(tmp_path, "new", KEY)]}
    )


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (EVENT, None),
        ({"routing_key": "of-yesterday"}, None),
        ({**EVENT, "routing_key": "S" * 32}, "Invalid routing key"),
        ({**EVENT, "routing_key": "short"}, "Length of 'routing_key' is incorrect (should be 32 characters)"),
        ({**EVENT, "routing_key": ""}, "'routing_key' is missing or blank"),
        ({**EVENT, "routing_key": 5}, "'routing_key' is missing or blank"),
        ({}, "'routing_key' is missing or blank"),
        (b"[", "Event object is not valid JSON: not JSON: unexpected end of data"),
    ],
)
def test_the_key_is_the_way_in(body: Any, said: str | None, params: Params) -> None:
    assert verify({}, as_bytes(body), params) == said


def test_without_a_key_of_ours_nobody_comes_in() -> None:
    assert verify({}, as_bytes(EVENT), Params()) == "Invalid routing key"
    assert "cannot be read" in str(verify({}, as_bytes(EVENT), Params.model_validate({"routingKey": "file:/none"})))


@given(st.data(), values, st.sampled_from(["trigger", "acknowledge", "resolve"]))
def test_no_value_anywhere_raises_anything_but_invalid_input(data: st.DataObject, value: Any, action: str) -> None:
    document = {**EVENT, "event_action": action}
    body = as_bytes(put(document, data.draw(st.sampled_from(places(document))), value))
    found = or_refused(read, body)
    assert found is None or (len(found[0]), found[1]) == (1, [])
    said = verify({}, body, Params())
    assert isinstance(said, str)


@given(damaged(EVENT))
def test_no_damage_to_the_bytes_raises_anything_but_invalid_input(body: bytes) -> None:
    found = or_refused(read, body)
    assert found is None or (len(found[0]), found[1]) == (1, [])
    assert isinstance(verify({}, body, Params()), str)

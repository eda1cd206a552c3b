"""PagerDuty's webhooks v3: what fires, acknowledges, resolves or is left aside, and who may post."""

from __future__ import annotations

import copy
import hashlib
import hmac
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.errors import InvalidInput
from quell.incident.alert import Alert, AlertStatus, Severity
from quell.plugins.sources.pagerduty import Params, delivery, ignored, parse, verify
from tests.plugins.sources.posted import as_bytes, damaged, or_refused, places, put, secret, values

RECEIVED = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)

BODY: dict[str, Any] = {
    "event": {
        "id": "01EVENTOFOURS0000000000001", "event_type": "incident.triggered", "resource_type": "incident",
        "occurred_at": "2026-03-04T05:05:00.123Z", "client": None,
        "agent": {"id": "PUSER01", "summary": "Ines Roth", "type": "user_reference"},
        "data": {
            "id": "PINC001", "type": "incident", "html_url": "https://shop.pagerduty.com/incidents/PINC001",
            "number": 17, "status": "triggered", "incident_key": "pool-full", "created_at": "2026-03-04T05:04:59Z",
            "title": "Connection pool is full",
            "service": {"id": "PSVC001", "summary": "payment", "type": "service_reference"},
            "assignees": [{"id": "PUSER02", "summary": "Omar", "type": "user_reference"}],
            "escalation_policy": {"id": "PESC001", "summary": "Payments first", "type": "escalation_policy_reference"},
            "teams": [{"id": "PTEAM01", "summary": "Payments", "type": "team_reference"}],
            "priority": {"id": "PPRI001", "summary": "P2", "type": "priority_reference"},
            "urgency": "high", "conference_bridge": None, "resolve_reason": None,
        },
    }
}  # fmt: skip
FLAT: dict[str, Any] = {
    "event": {
        "incident": {
            "id": "TEST7", "title": "Memory is short", "service": {"name": "payment"}, "urgency": "low",
            "html_url": "https://shop.pagerduty.com/incidents/TEST7",
            "custom_details": {"namespace": "production", "replicas": 3, "labels": {"a": "b"}},
        }
    }
}  # fmt: skip


def read(document: Any, **params: Any) -> tuple[list[Alert], list[tuple[str, Any]]]:
    return parse(as_bytes(document), {}, Params(**params), RECEIVED)


def one(document: Any, **params: Any) -> Alert:
    (alert,), quarantined = read(document, **params)
    assert quarantined == []
    return alert


def event(**fields: Any) -> dict[str, Any]:
    return {"event": {**copy.deepcopy(BODY["event"]), **fields}}


def incident(**fields: Any) -> dict[str, Any]:
    return event(data={**copy.deepcopy(BODY["event"]["data"]), **fields})


def test_an_incident_comes_through_with_all_it_says() -> None:
    alert = one(BODY, tenant="acme", labels={"environment": "production", "service": "unknown"})
    assert (alert.name, alert.status, alert.fingerprint) == ("Connection pool is full", AlertStatus.FIRING, "PINC001")
    assert (alert.service, alert.severity, alert.tenant, alert.environment) == (
        "payment", Severity.P2, "acme", "production",
    )  # fmt: skip
    assert alert.labels == {
        "alertname": "Connection pool is full", "service": "payment", "service_id": "PSVC001", "urgency": "high",
        "priority": "P2", "escalation_policy": "Payments first", "team": "Payments", "environment": "production",
    }  # fmt: skip
    assert alert.starts_at == datetime(2026, 3, 4, 5, 4, 59, tzinfo=UTC)
    assert (alert.ends_at, alert.received_at) == (None, RECEIVED)
    assert alert.url == "https://shop.pagerduty.com/incidents/PINC001"
    assert (alert.details["by"], alert.details["number"], alert.details["id"]) == (
        "Ines Roth", 17, BODY["event"]["id"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("incident.triggered", AlertStatus.FIRING),
        ("incident.reopened", AlertStatus.FIRING),
        ("incident.unacknowledged", AlertStatus.FIRING),
        ("incident.escalated", AlertStatus.FIRING),
        ("incident.acknowledged", AlertStatus.ACKNOWLEDGED),
        ("incident.resolved", AlertStatus.RESOLVED),
    ],
)
def test_what_happened_to_the_incident_is_how_the_alert_is(kind: str, status: AlertStatus) -> None:
    body = event(event_type=kind)
    alert = one(body)
    assert (alert.status, ignored(as_bytes(body))) == (status, None)
    assert (alert.ends_at is not None) == (status is AlertStatus.RESOLVED)


@pytest.mark.parametrize(
    "kind",
    [
        "pagey.ping",
        "incident.annotated",
        "incident.priority_updated",
        "incident.delegated",
        "service.updated",
        "new.one",
    ],
)
@pytest.mark.parametrize("data", [None, {}, {"id": 7}, "x", BODY["event"]["data"]])
def test_anything_else_opens_nothing_and_says_what_it_was(kind: str, data: Any) -> None:
    body = event(event_type=kind, agent=None, data=data)
    assert read(body) == ([], [])
    assert ignored(as_bytes(body)) == kind


@pytest.mark.parametrize("name", ["agent", "client"])
def test_nobody_did_it(name: str) -> None:
    alert = one(event(**{name: None}, event_type="incident.acknowledged"))
    assert alert.details.get("by") == (None if name == "agent" else "Ines Roth")


@pytest.mark.parametrize("name", ["priority", "assignees", "teams", "service", "escalation_policy", "urgency"])
@pytest.mark.parametrize("empty", [None, [], {}, "", 5])
def test_what_an_incident_leaves_out_is_left_out(name: str, empty: Any) -> None:
    alert = one(incident(**{name: empty}))
    label = {"teams": "team"}.get(name, name)
    assert label not in alert.labels
    assert alert.service == (None if name == "service" else "payment")


@pytest.mark.parametrize(
    ("priority", "urgency", "severity"),
    [
        ("P1", "low", Severity.P1),
        ("P4", "high", Severity.P4),
        (None, "high", Severity.P2),
        (None, "low", Severity.P4),
        ("Whatever", "high", Severity.P2),
        (None, None, None),
    ],
)
def test_the_priority_says_how_bad_it_is_else_the_urgency(priority: Any, urgency: Any, severity: Any) -> None:
    named = priority and {"summary": priority}
    assert one(incident(priority=named, urgency=urgency)).severity is severity


def test_an_incident_under_its_own_name_is_read_too() -> None:
    alert = one(FLAT)
    assert (alert.name, alert.fingerprint, alert.status) == ("Memory is short", "TEST7", AlertStatus.FIRING)
    assert (alert.service, alert.severity) == ("payment", Severity.P4)
    assert (alert.labels["namespace"], alert.labels["replicas"]) == ("production", "3")
    assert "labels" not in alert.labels
    assert alert.details["custom_details"]["labels"] == {"a": "b"}
    ended = put(FLAT, ("event",), {**FLAT["event"], "event_type": "incident.resolved"})
    assert one(ended).status is AlertStatus.RESOLVED
    told = put(FLAT, ("event", "incident"), {**FLAT["event"]["incident"], "status": "acknowledged"})
    assert one(told).status is AlertStatus.ACKNOWLEDGED


def test_details_neither_rename_the_service_nor_move_the_alert() -> None:
    """Whoever resolves it later may leave them out; then it would be another alert."""
    details = {"service": "other", "environment": "staging", "region": "moon"}
    alert = one(incident(custom_details=details), labels={"region": "eu"})
    assert (alert.service, alert.environment, alert.region) == ("payment", "", "eu")
    assert alert.labels["environment"] == "staging"


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (incident(id=None), "event.data.id: missing"),
        (incident(id={"a": 1}), 'event.data.id: {"a":1}, not a short text'),
        (incident(title=""), "event.data.title: missing"),
        (incident(title=5), "event.data.title: missing"),
        (
            incident(created_at="yesterday"),
            'event.data.created_at: "yesterday", not a time such as 2026-01-02T03:04:05Z',
        ),
        (incident(html_url=5), "event.data.html_url: not a text of at most 8192 characters"),
        (event(data=None), "event.data: null, not an incident"),
        (event(data=[1]), "event.data: list, not an incident"),
    ],
)
def test_a_wrong_incident_is_quarantined_with_the_place(document: Any, reason: str) -> None:
    alerts, ((found, fragment),) = read(document)
    assert (alerts, found) == ([], reason)
    assert fragment["event_type"] == "incident.triggered"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b"", ""),
        (b"[]", ""),
        (b"{}", "event"),
        (b'{"event": []}', "event"),
        (b'{"event": {}}', "event.event_type"),
        (b'{"event": {"event_type": 5}}', "event.event_type"),
        (b'{"event": {"event_type": ""}}', "event.event_type"),
    ],
)
def test_a_body_that_is_wrong_as_a_whole_is_refused(body: bytes, path: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(body)
    assert [problem.path for problem in caught.value.problems] == [path]


def test_a_title_without_its_line_ends_is_a_name() -> None:
    assert one(incident(title="two\n lines\0")).name == "two lines"
    assert len(one(incident(title="x" * 5_000)).name) == 1_024


# The same one sent again.


def test_a_delivery_is_known_by_the_signed_id() -> None:
    first = delivery({"X-Webhook-Id": "a"}, as_bytes(BODY))
    assert first == delivery({"X-Webhook-Id": "b"}, as_bytes(BODY))
    assert first != delivery({}, as_bytes(event(id="another")))
    assert first != delivery({}, as_bytes(event(event_type="incident.resolved")))
    assert first != delivery({}, as_bytes(incident(id="PINC002")))


def test_without_an_id_the_header_says_it() -> None:
    assert delivery({}, as_bytes(FLAT)) is None
    first = delivery({"x-webhook-id": "a"}, as_bytes(FLAT))
    assert first is not None
    assert first != delivery({"x-webhook-id": "b"}, as_bytes(FLAT))


# Who may post.


def signature(value: str, body: bytes) -> str:
    return "v1=" + hmac.new(value.encode(), body, hashlib.sha256).hexdigest()


@pytest.fixture
def params(tmp_path: Path) -> Params:
    return Params(secrets=(secret(tmp_path, "old", "of-yesterday\n"), secret(tmp_path, "new", "of-today")))


@pytest.mark.parametrize("value", ["of-yesterday", "of-today"])
def test_one_of_several_signatures_must_fit_one_of_several_secrets(value: str, params: Params) -> None:
    good, wrong = signature(value, b"{}"), signature("stranger", b"{}")
    for header in (
        good,
        f"{wrong},{good}",
        f"{good},{wrong}",
        f" {wrong} , {good} ",
        f"v2=x,{good}",
        f"v1={good[3:].upper()}",
    ):
        assert verify({"X-PagerDuty-Signature": header}, b"{}", params) is None


def test_a_signature_that_fits_nothing_lets_nobody_in(params: Params) -> None:
    good = signature("of-today", b"{}")
    bad = ["", "v1=", "v1", ",", good[3:], f"v0={good[3:]}", good[:-1], signature("stranger", b"{}"), "v1=é"]
    for header in bad:
        said = verify({"x-pagerduty-signature": header}, b"{}", params)
        assert said is not None
        assert "of-today" not in said
    assert verify({"x-pagerduty-signature": good}, b"{ }", params) is not None
    assert verify({}, b"{}", params) is not None


def test_a_secret_that_is_lost_keeps_the_other_one_in_use(params: Params) -> None:
    lame = Params(secrets=("file:/nonexistent", *params.secrets))
    assert verify({"x-pagerduty-signature": signature("of-today", b"{}")}, b"{}", lame) is None
    assert "cannot be read" in str(verify({"x-pagerduty-signature": signature("", b"{}")}, b"{}", lame))


def test_a_token_lets_in_but_not_with_a_wrong_signature(params: Params, tmp_path: Path) -> None:
    both = params.model_copy(update={"token": secret(tmp_path, "token", "t0ken-of-ours")})
    bearer = {"Authorization": "Bearer t0ken-of-ours"}
    assert verify(bearer, b"{}", both) is None
    assert verify({**bearer, "x-pagerduty-signature": signature("stranger", b"{}")}, b"{}", both) is not None
    assert verify({"Authorization": "Bearer other"}, b"{}", both) is not None
    assert verify({"x-pagerduty-signature": signature("of-today", b"{}")}, b"{}", both) is None
    assert verify(bearer, b"{}", params) is not None


def test_one_secret_may_be_written_alone() -> None:
    assert Params.model_validate({"secret": "env:A"}).secrets == ("env:A",)
    assert verify({}, b"", Params()) is None


# Whatever arrives.


@given(st.sampled_from([BODY, FLAT]), st.data(), values)
def test_no_value_anywhere_raises_anything_but_invalid_input(document: Any, data: st.DataObject, value: Any) -> None:
    body = as_bytes(put(document, data.draw(st.sampled_from(places(document))), value))
    found = or_refused(read, body)
    if found is not None:
        alerts, quarantined = found
        assert len(alerts) + len(quarantined) == (1 if ignored(body) is None else 0)
        named = delivery({"x-webhook-id": "1"}, body)
        assert named is None or isinstance(named, str)


@given(st.sampled_from([BODY, FLAT]).flatmap(damaged))
def test_no_damage_to_the_bytes_raises_anything_but_invalid_input(body: bytes) -> None:
    found = or_refused(read, body)
    if found is not None:
        assert len(found[0]) + len(found[1]) == (1 if ignored(body) is None else 0)
        delivery({}, body)

"""Opsgenie's webhook: what fires, acknowledges, closes or is left aside, and who may post."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from quell.errors import InvalidInput
from quell.incident.alert import Alert, AlertStatus, Severity
from quell.plugins.sources.opsgenie import Params, ignored, parse, verify
from tests.plugins.sources.posted import as_bytes, damaged, or_refused, places, put, secret, values

RECEIVED = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)

BODY: dict[str, Any] = {
    "action": "Create",
    "alert": {
        "alertId": "5f3c9a70-0000-4000-8000-000000000001", "message": "payment answers slowly", "alias": "payment-slow",
        "tags": ["vip", "service:payment", "env: production"], "tinyId": "41", "source": "probe-3", "entity": "checkout",
        "createdAt": 1772600699123, "updatedAt": 1772600700123456789, "insertedAt": 1772600699123456789,
        "username": "ines@example.com", "userId": "u-1", "recipients": [], "teams": ["payments"], "priority": "P2",
        "details": {"region": "eu", "replicas": 3},
    },
    "source": {"name": "web", "type": "API"}, "integrationId": "i-1", "integrationName": "Quell",
}  # fmt: skip
CLOSED: dict[str, Any] = {
    "action": "Close",
    "alert": {
        "alertId": "5f3c9a70-0000-4000-8000-000000000001", "message": "payment answers slowly", "alias": "payment-slow",
        "tags": [], "createdAt": 1772600699123, "updatedAt": 1772600800123456789, "username": "ines@example.com",
    },
    "source": {"name": "", "type": "web"},
}  # fmt: skip


def read(document: Any, **params: Any) -> tuple[list[Alert], list[tuple[str, Any]]]:
    return parse(as_bytes(document), {}, Params(**params), RECEIVED)


def one(document: Any, **params: Any) -> Alert:
    (alert,), quarantined = read(document, **params)
    assert quarantined == []
    return alert


def changed(**fields: Any) -> dict[str, Any]:
    return {**BODY, "alert": {**BODY["alert"], **fields}}


def test_an_alert_comes_through_with_all_it_says() -> None:
    alert = one(BODY, tenant="acme", labels={"environment": "production"})
    assert (alert.name, alert.status, alert.fingerprint) == (
        "payment answers slowly", AlertStatus.FIRING, "payment-slow",
    )  # fmt: skip
    assert (alert.service, alert.severity, alert.tenant) == ("payment", Severity.P2, "acme")
    assert (alert.environment, alert.region) == ("production", "")
    assert alert.labels == {
        "alertname": "payment answers slowly", "entity": "checkout", "source": "probe-3", "priority": "P2",
        "tags": "vip, service:payment, env: production", "team": "payments", "service": "payment", "env": "production",
        "region": "eu", "replicas": "3", "environment": "production",
    }  # fmt: skip
    assert alert.starts_at == datetime(2026, 3, 4, 5, 4, 59, 123000, tzinfo=UTC)
    assert alert.ends_at is None
    assert alert.details["tinyId"] == "41"
    assert one(BODY, service_labels=("entity",)).service == "checkout"


def test_a_closed_alert_is_the_same_one_although_it_says_less() -> None:
    fired, closed = one(BODY), one(CLOSED)
    assert (closed.status, closed.fingerprint) == (AlertStatus.RESOLVED, fired.fingerprint)
    assert (closed.environment, closed.region) == (fired.environment, fired.region)
    assert closed.ends_at == datetime(2026, 3, 4, 5, 6, 40, 123456, tzinfo=UTC)


@pytest.mark.parametrize(
    ("action", "status"),
    [("UnAcknowledge", AlertStatus.FIRING), ("Acknowledge", AlertStatus.ACKNOWLEDGED)],
)
def test_an_acknowledgement_names_who_gave_it(action: str, status: AlertStatus) -> None:
    alert = one({**BODY, "action": action})
    assert (alert.status, alert.details["by"]) == (status, "ines@example.com")
    assert "by" not in one(put({**BODY, "action": action}, ("alert", "username"), None)).details


@pytest.mark.parametrize("action", ["AddNote", "Snooze", "UpdatePriority", "Delete", "Restart it"])
@pytest.mark.parametrize("alert", [None, {}, BODY["alert"]])
def test_any_other_action_does_nothing_and_is_named(action: str, alert: Any) -> None:
    body = {**BODY, "action": action, "alert": alert}
    assert read(body) == ([], [])
    assert ignored(as_bytes(body)) == action
    assert ignored(as_bytes(BODY)) is None


@pytest.mark.parametrize(
    ("given", "moment"),
    [
        (1772600699, datetime(2026, 3, 4, 5, 4, 59, tzinfo=UTC)),
        (1772600699123, datetime(2026, 3, 4, 5, 4, 59, 123000, tzinfo=UTC)),
        (1772600699123456, datetime(2026, 3, 4, 5, 4, 59, 123456, tzinfo=UTC)),
        (1772600699123456789, datetime(2026, 3, 4, 5, 4, 59, 123456, tzinfo=UTC)),
        (1772600699999999999, datetime(2026, 3, 4, 5, 4, 59, 999999, tzinfo=UTC)),
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (None, None),
        ("", None),
    ],
)
def test_times_are_exact_whatever_they_are_counted_in(given: Any, moment: datetime | None) -> None:
    assert one(changed(createdAt=given)).starts_at == moment


@pytest.mark.parametrize(
    ("priority", "label", "severity"),
    [
        ("P1", "P1", Severity.P1),
        (3, "P3", Severity.P3),
        (5, "P5", Severity.P4),
        ("P5", "P5", Severity.P4),
        (True, None, None),
        (None, None, None),
        (77, "P77", None),
        ([], None, None),
    ],
)
def test_a_priority_is_a_word_or_a_number(priority: Any, label: str | None, severity: Severity | None) -> None:
    alert = one(changed(priority=priority))
    assert (alert.labels.get("priority"), alert.severity) == (label, severity)


@pytest.mark.parametrize("alias", ["a" * 512, "two\nlines", "nul\0"])
def test_an_alias_that_is_no_short_text_still_tells_alerts_apart(alias: str) -> None:
    fingerprint = one(changed(alias=alias)).fingerprint
    assert len(fingerprint) == 16
    assert fingerprint == one(changed(alias=alias)).fingerprint
    assert fingerprint != one(changed(alias=alias + "b")).fingerprint


def test_without_an_alias_the_id_tells_them_apart() -> None:
    assert one(changed(alias=None)).fingerprint == BODY["alert"]["alertId"]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (changed(alias=None, alertId=5), "alert.alias: missing, and so is alert.alertId"),
        (changed(message=None), "alert.message: missing"),
        (changed(createdAt="1772600699123"), 'alert.createdAt: "1772600699123", not a time such as 1502709956288'),
        (changed(createdAt=1.5), "alert.createdAt: 1.5, not a time such as 1502709956288"),
        (changed(createdAt=True), "alert.createdAt: true, not a time such as 1502709956288"),
        (changed(createdAt=-1), "alert.createdAt: -1, not a time such as 1502709956288"),
        ({**BODY, "alert": "x"}, "alert: text, not an object"),
    ],
)
def test_a_wrong_alert_is_quarantined_with_the_place(document: Any, reason: str) -> None:
    alerts, ((found, fragment),) = read(document)
    assert (alerts, found) == ([], reason)
    assert fragment["action"] == "Create"


@pytest.mark.parametrize(("body", "path"), [(b"", ""), (b"[]", ""), (b"{}", "action"), (b'{"action": 5}', "action")])
def test_a_body_that_is_wrong_as_a_whole_is_refused(body: bytes, path: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(body)
    assert [problem.path for problem in caught.value.problems] == [path]


# Who may post.


def test_a_bearer_or_a_user_may(tmp_path: Path) -> None:
    token, password = secret(tmp_path, "token", "t0ken"), secret(tmp_path, "password", "p4ss")
    basic = "Basic " + base64.b64encode(b"og:p4ss").decode()
    both = Params(token=token, username="og", password=password)
    assert verify({"Authorization": "Bearer t0ken"}, b"", both) is None
    assert verify({"authorization": basic}, b"", both) is None
    assert verify({"authorization": "Bearer p4ss"}, b"", both) is not None
    assert verify({}, b"", Params()) is None


def test_a_header_of_the_sites_own_carries_the_token(tmp_path: Path) -> None:
    token, password = secret(tmp_path, "token", "t0ken"), secret(tmp_path, "password", "p4ss")
    own = Params(token=token, header="X-Quell-Secret")
    assert verify({"x-quell-secret": "t0ken"}, b"", own) is None
    for headers in ({}, {"x-quell-secret": ""}, {"x-quell-secret": "t0ke"}, {"Authorization": "Bearer t0ken"}):
        assert verify(headers, b"", own) is not None
    two = Params(token=token, header="X-Quell-Secret", username="og", password=password)
    assert verify({"authorization": "Basic " + base64.b64encode(b"og:p4ss").decode()}, b"", two) is None
    assert verify({"authorization": "Basic " + base64.b64encode(b"og:other").decode()}, b"", two) is not None
    assert "cannot be read" in str(verify({"x-a": ""}, b"", Params(token="file:/none", header="X-A")))


def test_a_header_without_a_token_would_let_everybody_in() -> None:
    with pytest.raises(ValidationError, match="there is no token"):
        Params(header="X-Quell-Secret")


# Whatever arrives.


@given(st.sampled_from([BODY, CLOSED]), st.data(), values)
def test_no_value_anywhere_raises_anything_but_invalid_input(document: Any, data: st.DataObject, value: Any) -> None:
    body = as_bytes(put(document, data.draw(st.sampled_from(places(document))), value))
    found = or_refused(read, body)
    if found is not None:
        assert len(found[0]) + len(found[1]) == (1 if ignored(body) is None else 0)


@given(st.sampled_from([BODY, CLOSED]).flatmap(damaged))
def test_no_damage_to_the_bytes_raises_anything_but_invalid_input(body: bytes) -> None:
    found = or_refused(read, body)
    if found is not None:
        assert len(found[0]) + len(found[1]) == (1 if ignored(body) is None else 0)

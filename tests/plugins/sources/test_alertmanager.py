"""Alertmanager's webhook: what becomes an alert, what is quarantined, what is refused as a whole."""

import base64
import copy
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.errors import InvalidInput
from quell.incident.alert import AlertStatus, Severity, fingerprint_of
from quell.plugins.sources import alertmanager
from quell.plugins.sources.alertmanager import Params, parse, verify
from quell.registry import Registry
from tests.plugins.sources.bodies import counts

RECEIVED = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)

BODY: dict[str, Any] = {
    "receiver": "quell",
    "status": "firing",
    "alerts": [
        {
            "status": "firing",
            "labels": {
                "alertname": "PaymentErrorsHigh",
                "service": "payment",
                "severity": "critical",
                "region": "eu-west-1",
            },
            "annotations": {"summary": "12 % of payments fail"},
            "startsAt": "2026-03-04T05:01:02.123456789Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus:9090/graph?g0.expr=up",
            "fingerprint": "8f3c1e9a0b7d2c41",
        },
        {
            "status": "resolved",
            "labels": {"alertname": "PaymentSlow", "app": "checkout", "severity": "warning"},
            "annotations": {},
            "startsAt": "2026-03-04T07:01:02+02:00",
            "endsAt": "2026-03-04T05:05:00Z",
            "generatorURL": "",
            "fingerprint": "",
        },
    ],
    "groupLabels": {"service": "payment"},
    "commonLabels": {},
    "commonAnnotations": {},
    "externalURL": "http://alertmanager:9093",
    "version": "4",
    "groupKey": '{}:{service="payment"}',
    "truncatedAlerts": 3,
    "notification_reason": "new_alerts",
    "routeLabels": {"team": "payments"},
}


def read(document: Any, **params: Any) -> tuple[list[Any], list[tuple[str, Any]]]:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return parse(body, {}, Params(**params), RECEIVED)


def read_or_refuse(body: bytes) -> tuple[list[Any], list[tuple[str, Any]]] | None:
    """None when the body as a whole is refused; any other error goes through and fails the test."""
    try:
        return read(body)
    except InvalidInput:
        return None


def changed(index: int, **fields: Any) -> dict[str, Any]:
    document = copy.deepcopy(BODY)
    document["alerts"][index].update(fields)
    return document


def test_both_alerts_come_through_with_all_they_say() -> None:
    (first, second), quarantined = read(BODY, service_labels=("service", "app"), tenant="acme")
    assert quarantined == []
    assert (first.name, first.status, first.service) == ("PaymentErrorsHigh", AlertStatus.FIRING, "payment")
    assert (first.severity, first.region, first.tenant) == (Severity.P1, "eu-west-1", "acme")
    assert first.fingerprint == "8f3c1e9a0b7d2c41"
    assert first.starts_at == datetime(2026, 3, 4, 5, 1, 2, 123456, tzinfo=UTC)
    assert first.ends_at is None
    assert first.url == "http://prometheus:9090/graph?g0.expr=up"
    assert first.received_at == RECEIVED
    assert first.details == {
        "receiver": "quell",
        "groupKey": '{}:{service="payment"}',
        "groupLabels": {"service": "payment"},
        "externalURL": "http://alertmanager:9093",
        "truncatedAlerts": 3,
        "notification_reason": "new_alerts",
        "routeLabels": {"team": "payments"},
    }
    assert (second.status, second.service, second.severity) == (AlertStatus.RESOLVED, "checkout", Severity.P3)
    assert second.starts_at == datetime(2026, 3, 4, 5, 1, 2, tzinfo=UTC)
    assert second.ends_at == datetime(2026, 3, 4, 5, 5, tzinfo=UTC)
    assert second.fingerprint == fingerprint_of(second.labels)
    assert second.url is None


def test_a_service_that_no_label_names_stays_unknown() -> None:
    (_, second), _ = read(BODY)
    assert second.service is None


def test_default_labels_fill_in_but_do_not_win() -> None:
    (first, second), _ = read(BODY, labels={"region": "us-east-1", "environment": "production"})
    assert (first.region, second.region) == ("eu-west-1", "us-east-1")
    assert first.environment == "production"


def test_an_unknown_severity_word_is_no_severity() -> None:
    labels = {"alertname": "A", "severity": "purple"}
    (first, _), _ = read(changed(0, labels=labels))
    assert first.severity is None


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"labels": ["a"]}, "alerts[0].labels: list, not an object"),
        ({"labels": {"alertname": 4}}, "alerts[0].labels.alertname: number, not a text"),
        ({"labels": {"service": "x"}}, "alerts[0].labels.alertname: missing"),
        ({"labels": {"alertname": "x", "": "y"}}, "alerts[0].labels: a name of 0 characters, not 1 to 256"),
        ({"labels": {"alertname": "x", "n" * 257: "y"}}, "alerts[0].labels: a name of 257 characters, not 1 to 256"),
        ({"labels": {"alertname": "é" * 2049}}, "alerts[0].labels.alertname: 4098 bytes, more than 4096"),
        ({"labels": {"alertname": "x\0"}}, "alerts[0].labels.'alertname': has a NUL in it"),
        ({"annotations": "none"}, "alerts[0].annotations: text, not an object"),
        ({"status": "pending"}, 'alerts[0].status: "pending", not firing or resolved'),
        ({"status": None}, "alerts[0].status: null, not firing or resolved"),
        (
            {"startsAt": "yesterday"},
            'alerts[0].startsAt: "yesterday", not a time such as 2026-01-02T03:04:05Z',
        ),
        ({"startsAt": "2026-02-30T00:00:00Z"}, 'alerts[0].startsAt: "2026-02-30T00:00:00Z", no such time'),
        ({"endsAt": 5}, "alerts[0].endsAt: 5, not a time such as 2026-01-02T03:04:05Z"),
        ({"fingerprint": {}}, "alerts[0].fingerprint: {}, not a short text"),
        ({"generatorURL": 1}, "alerts[0].generatorURL: not a text of at most 8192 characters"),
    ],
)
def test_a_wrong_alert_is_quarantined_and_its_sibling_goes_on(fields: dict[str, Any], reason: str) -> None:
    alerts, quarantined = read(changed(0, **fields))
    assert [alert.name for alert in alerts] == ["PaymentSlow"]
    assert [found for found, _ in quarantined] == [reason]


def test_the_quarantined_fragment_is_the_alert_itself_or_its_beginning() -> None:
    _, ((_, small),) = read(changed(1, status="odd"))
    assert small["status"] == "odd"
    _, ((_, big),) = read(changed(1, status="odd", annotations={"a": "x" * 5000}))
    assert isinstance(big, str)
    assert len(big) < 2100


def test_a_link_that_is_not_http_is_left_out() -> None:
    (first, _), quarantined = read(changed(0, generatorURL="javascript:alert(1)"))
    assert (first.url, quarantined) == (None, [])


def test_what_all_alerts_share_is_cut_when_it_is_big() -> None:
    (first, _), _ = read({**BODY, "groupLabels": {"a": "x" * 10_000}})
    assert len(first.details["groupLabels"]) < 2100


@pytest.mark.parametrize(
    ("body", "rule", "path"),
    [
        (b"", "json", ""),
        (b"\xff\xfe", "json", ""),
        (b'{"version": "4", "alerts": [], "x": NaN}', "json", ""),
        (b"[]", "type", ""),
        (b'{"version": "3", "alerts": []}', "version", "version"),
        (b'{"version": 4, "alerts": []}', "version", "version"),
        (b'{"version": "4"}', "type", "alerts"),
        (b'{"version": "4", "alerts": {}}', "type", "alerts"),
        (b'{"version": "4", "alerts": [' + b"0," * 2000 + b"0]}", "too_many", "alerts"),
        (b'{"version": "4", "alerts": [], "x": ' + b"[" * 40 + b"]" * 40 + b"}", "too_deep", ""),
        (b"[" * 100_000, "json", ""),
        (b'"' + b'\\"' * 200_000, "json", ""),
    ],
)
def test_a_body_that_is_wrong_as_a_whole_is_refused(body: bytes, rule: str, path: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(body)
    assert [(problem.rule, problem.path) for problem in caught.value.problems] == [(rule, path)]


def test_every_fault_of_the_body_is_told_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        read({"version": "3", "alerts": 7})
    assert [problem.path for problem in caught.value.problems] == ["version", "alerts"]


def test_unreadable_json_names_line_and_column() -> None:
    with pytest.raises(InvalidInput) as caught:
        read(b'{"version": "4",\n "alerts": [Infinity]}')
    (problem,) = caught.value.problems
    assert (problem.line, problem.message) == (2, "Infinity is not JSON")
    assert problem.column > 0


def test_no_alerts_are_no_alerts() -> None:
    assert read({"version": "4", "alerts": []}) == ([], [])


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
alert_keys = st.sampled_from(["status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "fingerprint"])


@given(st.dictionaries(alert_keys, values, max_size=3), values, st.sampled_from([*BODY, "alerts"]), values)
def test_no_field_of_any_kind_raises_anything_but_invalid_input(
    fields: dict[str, Any], sibling: Any, key: str, value: Any
) -> None:
    document = changed(0, **fields)
    document["alerts"].append(sibling)
    document[key] = value if key not in ("version", "alerts") else document[key]
    body = json.dumps(document).encode("utf-8", "surrogatepass")
    found = read_or_refuse(body)
    counts(alertmanager, body, found)
    if found is not None:
        alerts, quarantined = found
        assert len(alerts) + len(quarantined) == 3
        assert "PaymentSlow" in {alert.name for alert in alerts}
        assert all(reason.startswith("alerts[") for reason, _ in quarantined)


@given(st.data())
def test_no_damage_to_the_bytes_raises_anything_but_invalid_input(data: st.DataObject) -> None:
    body = bytearray(json.dumps(BODY).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=4))
        body = body or bytearray(b" ")
    found = read_or_refuse(bytes(body))
    counts(alertmanager, bytes(body), found)
    assert found is None or len(found[0]) + len(found[1]) <= 4


def test_everybody_may_post_when_nothing_is_configured() -> None:
    assert verify({}, b"", Params()) is None


@pytest.mark.parametrize(
    ("header", "good"),
    [
        ("Bearer s3cret", True),
        ("bearer s3cret", True),
        ("Bearer s3cre", False),
        ("Bearer é", False),
        ("Basic s3cret", False),
        ("", False),
    ],
)
def test_the_bearer_token_must_be_the_one(header: str, good: bool, tmp_path: Any) -> None:
    secret = tmp_path / "token"
    secret.write_text("s3cret\n")
    said = verify({"AUTHORIZATION": header}, b"", Params(token=f"file:{secret}"))
    assert (said is None) is good
    assert said is None or "s3cret" not in said


@pytest.mark.parametrize(
    ("pair", "good"), [("am:s3cret", True), ("am:s3cret ", False), ("x:s3cret", False), ("am", False)]
)
def test_basic_credentials_must_be_the_ones(pair: str, good: bool, tmp_path: Any) -> None:
    secret = tmp_path / "password"
    secret.write_text("s3cret")
    header = "Basic " + base64.b64encode(pair.encode()).decode()
    assert (verify({"authorization": header}, b"", Params(username="am", password=f"file:{secret}")) is None) is good


def test_a_secret_that_cannot_be_read_lets_nobody_in() -> None:
    said = verify({"authorization": "Bearer "}, b"", Params(token="file:/nonexistent/token"))
    assert said is not None
    assert "cannot be read" in said


def test_an_empty_secret_lets_nobody_in(tmp_path: Any) -> None:
    secret = tmp_path / "empty"
    secret.write_text("")
    assert verify({"authorization": "Bearer "}, b"", Params(token=f"file:{secret}")) is not None


def test_the_registry_finds_the_source() -> None:
    source = Registry().source("alertmanager")
    assert source.parse is parse
    assert source.verify is verify

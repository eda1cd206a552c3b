"""Alerts as Prometheus posts them: what fires until when, what has resolved, whose fingerprint, what is quarantined."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from quell.errors import InvalidInput
from quell.incident.alert import AlertStatus, Severity
from quell.plugins.sources.alertmanager_api import Params, fingerprint, parse, verify
from quell.registry import Registry
from tests.plugins.sources.bodies import RECEIVED, damaged, or_refused, sent, values
from tests.plugins.sources.posted import places, put, secret
from tests.servers.alertmanager import Alertmanager
from tests.servers.process import RunServer

BODY: list[dict[str, Any]] = [
    {
        "labels": {"alertname": "PaymentErrorsHigh", "service": "payment", "severity": "critical", "empty": ""},
        "annotations": {"summary": "12 % of payments fail"},
        "startsAt": "2026-03-04T05:01:02.123456789Z",
        "endsAt": "2026-03-04T05:10:07.5Z",
        "generatorURL": "http://prometheus:9090/graph?g0.expr=up",
    },
    {
        "labels": {"alertname": "PaymentSlow", "app": "checkout", "severity": "warning"},
        "startsAt": "2026-03-04T05:01:02Z",
        "endsAt": "2026-03-04T05:05:00Z",
    },
]


def read(document: Any, **params: Any) -> tuple[list[Any], list[tuple[str, Any]]]:
    return parse(sent(document), {}, Params(**params), RECEIVED)


def one(**fields: Any) -> Any:
    """The alert of one entry."""
    ((alert,), bad) = read([{"labels": {"alertname": "A"}, **fields}])
    assert bad == []
    return alert


def test_both_alerts_come_through_with_all_they_say() -> None:
    (first, second), quarantined = read(BODY, service_labels=("service", "app"), tenant="acme")
    assert quarantined == []
    assert (first.name, first.status, first.service) == ("PaymentErrorsHigh", AlertStatus.FIRING, "payment")
    assert (first.severity, first.tenant, first.source) == (Severity.P1, "acme", "alertmanager_api")
    assert first.labels == {"alertname": "PaymentErrorsHigh", "service": "payment", "severity": "critical"}
    assert first.starts_at == datetime(2026, 3, 4, 5, 1, 2, 123456, tzinfo=UTC)
    assert first.ends_at == datetime(2026, 3, 4, 5, 10, 7, 500000, tzinfo=UTC)
    assert first.url == "http://prometheus:9090/graph?g0.expr=up"
    assert first.annotations == {"summary": "12 % of payments fail"}
    assert (second.status, second.service, second.severity) == (AlertStatus.RESOLVED, "checkout", Severity.P3)
    assert (second.annotations, second.url) == ({}, None)


@pytest.mark.parametrize(
    ("ends", "status"),
    [
        ("2026-03-04T05:06:06.999999Z", AlertStatus.RESOLVED),
        ("2026-03-04T05:06:07Z", AlertStatus.RESOLVED),
        ("2026-03-04T05:06:07.000001Z", AlertStatus.FIRING),
        ("2026-03-04T06:06:08+01:00", AlertStatus.FIRING),
    ],
)
def test_it_fires_until_its_end(ends: str, status: AlertStatus) -> None:
    assert one(endsAt=ends).status is status


@pytest.mark.parametrize("ends", [None, "", "0001-01-01T00:00:00Z"])
def test_without_an_end_it_fires_for_the_resolve_timeout(ends: Any) -> None:
    alert = one(endsAt=ends)
    assert (alert.status, alert.ends_at) == (AlertStatus.FIRING, RECEIVED + timedelta(minutes=5))
    ((alert,), _) = read([{"labels": {"alertname": "A"}, "endsAt": ends}], resolve_timeout="1h30m")
    assert alert.ends_at == RECEIVED + timedelta(minutes=90)


def test_without_a_beginning_it_began_now_or_when_it_ended() -> None:
    assert one().starts_at == RECEIVED
    assert one(endsAt="2026-03-04T05:00:00Z").starts_at == datetime(2026, 3, 4, 5, tzinfo=UTC)
    assert one(endsAt="2026-03-04T06:00:00Z").starts_at == RECEIVED


@pytest.mark.parametrize("wrong", ["5 minutes", "m", 0, -1, "31d", "1e9"])
def test_a_timeout_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        Params(resolve_timeout=wrong)
    assert Params(resolve_timeout=90).resolve_timeout == 90


def test_default_labels_fill_in_and_leave_the_fingerprint_alone() -> None:
    (first, _), _ = read(BODY, labels={"region": "us-east-1", "service": "other"})
    assert (first.region, first.service) == ("us-east-1", "payment")
    assert first.fingerprint == read(BODY)[0][0].fingerprint


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"labels": None}, "alerts[0].labels: null, not an object"),
        ({"labels": {"service": "x"}}, "alerts[0].labels.alertname: missing"),
        ({"labels": {"alertname": ""}}, "alerts[0].labels.alertname: missing"),
        ({"labels": {"alertname": "x", "n": 4}}, "alerts[0].labels.n: number, not a text"),
        ({"annotations": "none"}, "alerts[0].annotations: text, not an object"),
        ({"startsAt": "yesterday"}, 'alerts[0].startsAt: "yesterday", not a time such as 2026-01-02T03:04:05Z'),
        ({"endsAt": 5}, "alerts[0].endsAt: 5, not a time such as 2026-01-02T03:04:05Z"),
        ({"endsAt": "2026-03-04T05:01:01Z"}, 'alerts[0].endsAt: "2026-03-04T05:01:01Z", before startsAt'),
        ({"generatorURL": 1}, "alerts[0].generatorURL: not a text of at most 8192 characters"),
    ],
)
def test_a_wrong_alert_is_quarantined_and_its_sibling_goes_on(fields: dict[str, Any], reason: str) -> None:
    alerts, quarantined = read([{**BODY[0], **fields}, BODY[1]])
    assert [alert.name for alert in alerts] == ["PaymentSlow"]
    assert [found for found, _ in quarantined] == [reason]


@pytest.mark.parametrize("body", [b"", b"{", b"{}", b"null", b'"x"', b"[" * 40 + b"]" * 40, [{}] * 2001])
def test_a_body_that_is_no_list_of_alerts_is_refused(body: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        read(body)
    assert refused.value.problems


def test_no_alerts_are_none() -> None:
    assert read([]) == ([], [])


def test_who_may_post(tmp_path: Path) -> None:
    assert verify({}, b"", Params()) is None
    token = Params(token=secret(tmp_path, "token", "t0ken"))
    assert verify({"Authorization": "Bearer t0ken"}, b"", token) is None
    assert verify({"authorization": "Bearer other"}, b"", token) is not None
    assert verify({}, b"", token) is not None
    basic = Params(username="ann", password=secret(tmp_path, "password", "pass"))
    given = base64.b64encode(b"ann:pass").decode()
    assert verify({"authorization": f"Basic {given}"}, b"", basic) is None
    assert verify({"authorization": "Basic xx"}, b"", basic) is not None
    assert verify({"authorization": "Bearer "}, b"", Params(token="env:NOT_THERE_AT_ALL")) is not None


def test_it_is_a_source_of_the_registry() -> None:
    assert Registry().source("alertmanager_api").params is Params


# The fingerprint.


def test_the_fingerprint_is_fnv_1a() -> None:
    assert fingerprint({}) == "cbf29ce484222325"
    assert fingerprint({"a": "b"}) != fingerprint({"a": "c"}) != fingerprint({"ab": ""})
    assert fingerprint({"b": "1", "a": "2"}) == fingerprint({"a": "2", "b": "1"})


def test_the_fingerprint_is_the_one_that_a_real_alertmanager_gives(run_server: RunServer) -> None:
    alertmanager = run_server(Alertmanager())
    labels = [
        {"alertname": "A"},
        {"alertname": "B", "instance": "10.0.0.7:9100", "job": "node", "empty": ""},
        {"zz": "é 李 \n\t\"'", "alertname": "C", "Upper": "x", "a_b": "", "_a": "1"},
    ]
    alertmanager.post([{"labels": one} for one in labels])
    theirs = {one["labels"]["alertname"]: one["fingerprint"] for one in alertmanager.alerts()}
    ours = {alert.name: alert.fingerprint for alert in read([{"labels": one} for one in labels])[0]}
    assert ours == theirs


# Whatever arrives.


@given(damaged(BODY))
def test_damage_is_quarantined_or_refused(body: bytes) -> None:
    or_refused(lambda: read(body))


@given(st.data())
def test_any_value_anywhere_leaves_the_sibling_alone(data: st.DataObject) -> None:
    place = data.draw(st.sampled_from([place for place in places(BODY) if place and place[0] == 0]))
    found = or_refused(lambda: read(put(BODY, place, data.draw(values))))
    if found is not None:
        assert "PaymentSlow" in [alert.name for alert in found[0]]
        assert len(found[0]) + len(found[1]) == 2
        json.dumps([alert.model_dump(mode="json") for alert in found[0]])


@given(values)
def test_any_json_is_read_or_refused(document: Any) -> None:
    or_refused(lambda: read(document))

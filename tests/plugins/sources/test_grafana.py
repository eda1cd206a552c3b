"""Grafana's webhook: what becomes an alert, what is quarantined, which signature lets a body in."""

import copy
import hashlib
import hmac
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from quell.errors import InvalidInput
from quell.incident.alert import AlertStatus, Severity
from quell.plugins.sources import grafana
from quell.plugins.sources.grafana import SIGNATURE, Params, parse, refused, verify
from tests.plugins.sources.bodies import (
    RECEIVED,
    Read,
    counts,
    damaged,
    makes_and_ends_one_incident,
    or_refused,
    sent,
    values,
)

BODY: dict[str, Any] = {
    "receiver": "quell", "status": "firing", "orgId": 7, "version": "1", "groupKey": "{}:{alertname=\"QueueDeep\"}",
    "alerts": [
        {
            "status": "firing", "fingerprint": "f3a9c2d411e08b75",
            "labels": {"alertname": "QueueDeep", "grafana_folder": "Shop", "severity": "critical", "service": "shop"},
            "annotations": {"summary": "9000 jobs wait"}, "values": {"A": 9000.5, "C": 1},
            "startsAt": "2026-03-04T07:01:02.5+02:00", "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "https://grafana.example/alerting/grafana/q1/view?orgId=7",
            "silenceURL": "https://grafana.example/alerting/silence/new?matcher=a",
            "dashboardURL": "https://grafana.example/d/d1", "panelURL": "", "imageURL": "https://grafana.example/i.png",
            "valueString": "[ var='A' value=9000.5 ]", "orgId": 7,
        },
        {
            "status": "resolved", "fingerprint": "0b1f6de2a97c4438",
            "labels": {"alertname": "DatasourceNoData", "rulename": "Latency high", "datasource_uid": "P1", "ref_id": "A"},
            "annotations": {"summary": "p99 over 2 s"}, "values": None,
            "startsAt": "2026-03-04T05:00:00Z", "endsAt": "2026-03-04T05:05:00Z", "generatorURL": "",
            "silenceURL": "", "dashboardURL": "", "panelURL": "",
        },
    ],
    "groupLabels": {"alertname": "QueueDeep"}, "commonLabels": {}, "commonAnnotations": {}, "truncatedAlerts": 4,
    "externalURL": "https://grafana.example/", "title": "[FIRING:1]", "state": "alerting", "message": "…",
}  # fmt: skip


def read(document: Any, **params: Any) -> Read:
    return parse(sent(document), {}, Params(**params), RECEIVED)


def changed(index: int, **fields: Any) -> dict[str, Any]:
    document = copy.deepcopy(BODY)
    document["alerts"][index].update(fields)
    return document


def test_an_alert_comes_through_with_all_it_says() -> None:
    (first, _), quarantined = read(BODY)
    assert quarantined == []
    assert (first.name, first.status, first.service, first.severity) == (
        "QueueDeep", AlertStatus.FIRING, "shop", Severity.P1,
    )  # fmt: skip
    assert (first.source, first.fingerprint, first.summary) == ("grafana", "f3a9c2d411e08b75", "9000 jobs wait")
    assert (first.starts_at.isoformat(), first.ends_at) == ("2026-03-04T05:01:02.500000+00:00", None)
    assert first.url == "https://grafana.example/alerting/grafana/q1/view?orgId=7"
    assert first.details["values"] == {"A": 9000.5, "C": 1}
    assert {"silenceURL", "dashboardURL", "imageURL", "valueString", "orgId"} <= set(first.details)
    assert "panelURL" not in first.details


def test_each_alert_of_a_truncated_group_says_how_many_did_not_come() -> None:
    alerts, _ = read(BODY)
    assert [alert.details["truncatedAlerts"] for alert in alerts] == [4, 4]


@pytest.mark.parametrize(
    ("name", "summary"),
    [
        ("DatasourceNoData", "the rule 'Latency high' found no data; what it is about: p99 over 2 s"),
        ("DatasourceError", "the rule 'Latency high' cannot be evaluated; what it is about: p99 over 2 s"),
        ("Latency high", "p99 over 2 s"),
    ],
)
def test_a_rule_that_knows_nothing_is_an_alert_of_its_own_name(name: str, summary: str) -> None:
    labels = {"alertname": name, "rulename": "Latency high"}
    (_, second), _ = read(changed(1, labels=labels))
    assert (second.name, second.labels["rulename"], second.summary) == (name, "Latency high", summary)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"labels": {"service": "x"}}, "alerts[0].labels.alertname: missing"),
        ({"labels": {"alertname": 4}}, "alerts[0].labels.alertname: number, not a text"),
        ({"status": "pending"}, 'alerts[0].status: "pending", not firing or resolved'),
        ({"startsAt": "soon"}, 'alerts[0].startsAt: "soon", not a time such as 2026-01-02T03:04:05Z'),
    ],
)
def test_an_alert_that_is_wrong_is_set_aside_and_its_sibling_goes_on(fields: dict[str, Any], reason: str) -> None:
    alerts, quarantined = read(changed(0, **fields))
    assert [alert.name for alert in alerts] == ["DatasourceNoData"]
    assert [said for said, _ in quarantined] == [reason]


def test_every_fault_of_the_body_is_told_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        read({"version": "4", "alerts": 7})
    assert [problem.path for problem in caught.value.problems] == ["version", "alerts"]


KEYS = st.sampled_from(
    ["status", "labels", "annotations", "startsAt", "values", "generatorURL", "fingerprint", "orgId"]
)


@given(st.dictionaries(KEYS, values, max_size=3), values, st.sampled_from(sorted(BODY)), values)
def test_no_field_raises_anything_but_invalid_input(fields: dict[str, Any], sibling: Any, key: str, value: Any) -> None:
    document = changed(0, **fields)
    document["alerts"].append(sibling)
    document[key] = value if key not in ("version", "alerts") else document[key]
    found = or_refused(lambda: read(document))
    counts(grafana, sent(document), found)
    if found is not None:
        assert len(found[0]) + len(found[1]) == 3
        assert "DatasourceNoData" in {alert.name for alert in found[0]}


@given(damaged(BODY))
def test_no_damage_raises_anything_but_invalid_input(body: bytes) -> None:
    counts(grafana, body, or_refused(lambda: read(body)))


# Who may post.

SECRET = "test-secret-of-grafana"
NOW = 1_790_000_000
PAYLOAD = b'{"version": "1", "alerts": []}'


def signature(signed: bytes) -> str:
    return hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("GRAFANA_SECRET", SECRET)
    return "env:GRAFANA_SECRET"


def test_a_signature_is_the_one_that_another_program_makes(secret: str) -> None:
    """``printf '%s' BODY | openssl dgst -sha256 -hmac test-secret-of-grafana``"""
    made = "4c6262d4f3d583807757d08b0df253298ef4ca24be91750717a0f705e00f1aed"
    assert verify({SIGNATURE: made}, PAYLOAD, Params(secret=secret)) is None


@pytest.mark.parametrize(
    ("given_", "good"),
    [
        (signature(PAYLOAD), True),
        (signature(PAYLOAD).upper(), True),
        (signature(PAYLOAD + b" "), False),
        ("sha256=" + signature(PAYLOAD), False),
        ("", False),
        ("é", False),
    ],
)
def test_the_body_must_be_signed(given_: str, good: bool, secret: str) -> None:
    said = verify({SIGNATURE.lower(): given_}, PAYLOAD, Params(secret=secret))
    assert (said is None) is good
    assert said is None or SECRET not in said


def test_the_header_is_the_one_that_the_site_names(secret: str) -> None:
    params = Params(secret=secret, signature_header="X-Mine")
    assert verify({"x-mine": signature(PAYLOAD)}, PAYLOAD, params) is None
    assert verify({SIGNATURE: signature(PAYLOAD)}, PAYLOAD, params)


@pytest.mark.parametrize(
    ("moment", "off", "good"),
    [(str(NOW), 0, True), (str(NOW), 299, True), (str(NOW), -299, True), (str(NOW), 301, False),
     (str(NOW), -301, False), ("", 0, False), ("now", 0, False), (f"{NOW}.5", 0, False), ("9" * 13, 0, False)],
)  # fmt: skip
def test_a_moment_is_signed_too_and_is_about_now(moment: str, off: int, good: bool, secret: str) -> None:
    params = Params(secret=secret, timestamp_header="X-Time", max_age="5m")
    headers = {SIGNATURE: signature(f"{moment}:".encode() + PAYLOAD), "X-TIME": moment}
    assert (refused(headers, PAYLOAD, params, NOW + off) is None) is good


def test_another_moment_than_the_signed_one_is_refused(secret: str) -> None:
    params = Params(secret=secret, timestamp_header="X-Time")
    headers = {SIGNATURE: signature(f"{NOW - 900}:".encode() + PAYLOAD), "X-Time": str(NOW)}
    assert refused(headers, PAYLOAD, params, NOW)
    assert refused({SIGNATURE: signature(PAYLOAD)}, PAYLOAD, params, NOW), "a body alone is not enough any more"


def test_with_a_secret_and_a_token_both_must_be_right(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFANA_TOKEN", "t0ken-of-grafana")
    params = Params(secret=secret, token="env:GRAFANA_TOKEN")
    signed, bearer = {SIGNATURE: signature(PAYLOAD)}, {"Authorization": "Bearer t0ken-of-grafana"}
    assert verify({**signed, **bearer}, PAYLOAD, params) is None
    assert verify(signed, PAYLOAD, params)
    assert verify(bearer, PAYLOAD, params)


def test_a_secret_that_is_lost_lets_nobody_in() -> None:
    said = verify({SIGNATURE: signature(PAYLOAD)}, PAYLOAD, Params(secret="file:/nonexistent/secret"))
    assert said is not None
    assert "cannot be read" in said


@pytest.mark.parametrize(
    "params",
    [{"timestamp_header": "X-Time"}, {"secret": "env:A", "signature_header": ""}, {"signature_header": "a b"},
     {"max_age": "soon"}, {"max_age": 0}],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(params: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Params(**params)


@pytest.mark.anyio
async def test_firing_and_resolved_make_and_end_one_incident(tmp_path: Path, secret: str) -> None:
    firing, resolved = changed(0), changed(0, status="resolved", endsAt="2026-03-04T05:09:00Z")
    for body in (firing, resolved):
        del body["alerts"][1]
    more = f"sources: {{grafana: {{secret: '{secret}', timestamp_header: X-Time}}}}\n"
    moment = str(int(time.time()))

    def headers(body: Any) -> dict[str, str]:
        return {"X-Time": moment, SIGNATURE: signature(f"{moment}:".encode() + sent(body))}

    await makes_and_ends_one_incident(tmp_path, "grafana", firing, resolved, more=more, headers=headers)

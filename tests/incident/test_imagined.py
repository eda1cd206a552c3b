"""An alert that nobody sent: what is read from its labels, and what is wrong with what was said."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from quell.incident.alert import AlertStatus, Severity, fingerprint_of
from quell.incident.imagined import Imagined

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_what_is_left_out_is_read_from_the_labels() -> None:
    labels = {
        "alertname": "Down", "service": "shop", "severity": "critical", "environment": "prod", "region": "eu", "a": "b",
    }  # fmt: skip
    alert = Imagined(labels=labels).alert(NOW, "acme")
    assert (alert.name, alert.source, alert.service, alert.severity) == ("Down", "alertmanager", "shop", Severity.P1)
    assert (alert.environment, alert.region, alert.tenant, alert.status) == ("prod", "eu", "acme", AlertStatus.FIRING)
    assert alert.labels == labels
    assert alert.fingerprint == fingerprint_of(labels)
    assert alert.received_at == NOW


def test_what_is_said_goes_over_the_labels() -> None:
    said = {
        "name": "Up", "service": "bank", "severity": "warn", "environment": "dev", "region": "us", "fingerprint": "f",
        "source": "prod", "status": "resolved", "labels": {"alertname": "Down", "severity": "page", "service": "shop"},
    }  # fmt: skip
    alert = Imagined.model_validate(said).alert(NOW)
    assert (alert.name, alert.service, alert.severity, alert.environment) == ("Up", "bank", Severity.P3, "dev")
    assert (alert.region, alert.fingerprint, alert.source, alert.status) == ("us", "f", "prod", AlertStatus.RESOLVED)


def test_an_alert_may_be_as_it_was_sent_or_stored() -> None:
    sent = {
        "status": "firing", "labels": {"alertname": "Down"}, "annotations": {"summary": "x"}, "fingerprint": "aa",
        "startsAt": "2026-01-01T00:00:00Z", "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "",
    }  # fmt: skip
    alert = Imagined.model_validate(sent).alert(NOW)
    assert Imagined.model_validate(alert.model_dump(mode="json")).alert(NOW) == alert


@pytest.mark.parametrize(
    ("said", "place"),
    [
        ({}, ()), ({"labels": {}}, ()), ({"labels": {"alertname": ""}}, ()), ({"name": "x", "severity": "urgent"}, ("severity",)),
        ({"name": "x", "sevrity": "P1"}, ("sevrity",)), ({"name": "x", "labels": {"a": 1}}, ("labels", "a")),
        ({"name": "x", "source": ""}, ("source",)), ({"name": "x", "status": "burning"}, ("status",)),
        ({"name": "x", "severity": 1}, ("severity",)),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(said: dict[str, Any], place: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as raised:
        Imagined.model_validate(said)
    assert [error["loc"] for error in raised.value.errors()] == [place]

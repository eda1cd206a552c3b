"""Which alerts may be one incident: by what they have in common, by the graph of services, under other labels."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.incident.alert import Alert, AlertStatus
from quell.incident.incident import Incident
from quell.incident.service import Service
from quell.intake.group import differing, group_key, near_by_service, raised, related, renamed

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
BY = ("service", "runbook")


def alert(name: str = "Down", fingerprint: str = "f", labels: dict[str, str] | None = None, **more: Any) -> Alert:
    return Alert(
        source="am", name=name, status=AlertStatus.FIRING, fingerprint=fingerprint, received_at=NOW,
        labels=labels or {}, **more,
    )  # fmt: skip


def incident(name: str, service: str, last: datetime = NOW) -> Incident:
    return Incident(id=name, tenant="default", service=service, last_alert_at=last)


def test_alerts_belong_together_by_service_runbook_and_place() -> None:
    one, other = alert(), alert(fingerprint="g")
    assert group_key(BY, one, "shop", "down") == group_key(BY, other, "shop", "down")
    assert group_key(BY, one, "shop", "down") != group_key(BY, one, "shop", "late")
    assert group_key(BY, one, "shop", "down") != group_key(BY, alert(region="eu"), "shop", "down")
    assert group_key(BY, one, "shop", "down") != group_key(BY, alert(environment="staging"), "shop", "down")
    assert group_key(BY, one, None, "down") != group_key(BY, other, None, "down")
    assert group_key(BY, one, "shop", None) != group_key(BY, other, "shop", None)


def test_by_what_a_site_says() -> None:
    a, b = alert(labels={"cluster": "x"}), alert("Up", "g", {"cluster": "x"})
    assert group_key(("cluster",), a, "shop", None) == group_key(("cluster",), b, "other", "r")
    assert group_key(("cluster", "alertname"), a, None, None) != group_key(("cluster", "alertname"), b, None, None)
    assert group_key(("service",), a, "shop", "r") == group_key(("service",), b, "shop", None)
    assert group_key(("rack",), a, "shop", None) != group_key(("rack",), b, "shop", None)


@given(st.lists(st.text(max_size=6), min_size=2, max_size=2), st.lists(st.text(max_size=6), min_size=2, max_size=2))
def test_other_values_are_another_group(one: list[str], other: list[str]) -> None:
    """Whatever signs are in them."""
    pairs = [alert(labels=dict(zip("ab", values, strict=True))) for values in (one, other)]
    keys = [group_key(("a", "b"), each, None, None) for each in pairs]
    assert (keys[0] == keys[1]) is (one == other or not (all(one) or all(other)))


SERVICES = {
    name: Service(name=name, depends_on=needs)
    for name, needs in {"web": ("shop",), "shop": ("db", "cache"), "db": ("disk",), "cache": (), "disk": (), "mail": ()}.items()
}  # fmt: skip


def test_what_a_service_needs_and_what_needs_it() -> None:
    assert related(SERVICES, "shop") == ({"db": 1, "cache": 1, "disk": 2}, {"web": 1})
    assert related(SERVICES, "disk") == ({}, {"web": 3, "shop": 2, "db": 1})
    assert related(SERVICES, "mail") == ({}, {})


def test_a_circle_ends() -> None:
    circle = {"a": Service(name="a", depends_on=("b",)), "b": Service(name="b", depends_on=("a", "gone"))}
    assert related(circle, "a") == ({"b": 1, "gone": 2}, {"b": 1})


def near(service: str, *incidents: Incident) -> list[tuple[str, bool]]:
    needed, needed_by = related(SERVICES, service)
    found = near_by_service(service, needed, needed_by, incidents, NOW - timedelta(minutes=10))
    return [(one.incident.id, one.causes) for one in found]


def test_a_symptom_joins_the_deepest_cause_that_is_nearest() -> None:
    assert near("web", incident("1", "db"), incident("2", "shop")) == [("2", False), ("1", False)]
    assert near("shop", incident("1", "web"), incident("2", "disk")) == [("2", False), ("1", True)]
    assert near("disk", incident("1", "web")) == [("1", True)]


def test_what_is_long_ago_or_elsewhere_is_not_near() -> None:
    assert near("shop", incident("1", "mail")) == []
    assert near("shop", incident("1", "db", NOW - timedelta(minutes=11))) == []


FULL = {"alertname": "Down", "job": "web", "instance": "a:1", "zone": "x", "version": "1"}


def test_the_same_alert_under_other_labels() -> None:
    now = alert(labels={**FULL, "version": "2"})
    (found,) = renamed(now, [(alert(labels=FULL), incident("1", "shop"))])
    assert "version '1' → '2'" in found.why


@pytest.mark.parametrize(
    "other",
    [
        alert("Up", labels=FULL),
        alert(labels={**FULL, "job": "b", "instance": "c", "zone": "d"}),
        alert(labels={"alertname": "Down", "instance": "b"}),
        alert(labels=FULL, environment="dev"),
        alert(labels={**FULL, "version": "2"}),
    ],
    ids=["another name", "three labels", "little in common", "elsewhere", "no difference"],
)
def test_another_alert(other: Alert) -> None:
    assert renamed(alert(labels={**FULL, "version": "2"}), [(other, incident("1", "shop"))]) == []


def test_a_label_that_came_or_went() -> None:
    assert differing(alert(labels=FULL), alert(labels={**FULL, "extra": "1"})) == {"extra": ("1", "")}


def test_many_services_are_more_severe() -> None:
    assert [raised(severity, 3, 3) for severity in ("P1", "P2", "P3", "P4")] == ["P1", "P1", "P2", "P3"]
    assert raised("P3", 2, 3) == "P3"
    assert raised("P3", 9, 0) == "P3"

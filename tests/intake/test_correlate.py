"""What an alert means next to what is known, over every status an incident can be in."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from quell.incident.alert import Alert, AlertStatus
from quell.incident.incident import ENDED, Deed, Incident, Status
from quell.intake.correlate import (
    Acknowledge,
    Join,
    Known,
    Nothing,
    Open,
    Resolve,
    alert_id,
    correlate,
    group_key,
    in_order,
)

S = Status
OPEN = [status for status in Status if status not in ENDED]


def alert(status: str = "firing", fingerprint: str = "f", **more: Any) -> Alert:
    return Alert(
        source="am",
        name="Down",
        status=AlertStatus(status),
        fingerprint=fingerprint,
        received_at=datetime(2026, 1, 1, tzinfo=UTC),
        **more,
    )


ME = alert_id(alert())


def incident(status: Status, *, firing: tuple[str, ...] = (ME,), run: int = 1, **more: Any) -> Incident:
    return Incident(id="i", tenant="default", status=status, firing=firing, run=run, **more)


def test_a_new_alert_opens_or_joins() -> None:
    assert isinstance(correlate(alert(), None, None), Open)
    assert correlate(alert(), None, incident(S.OPEN)) == Join("i", "the same service and runbook have an open incident")


@pytest.mark.parametrize("status", OPEN)
def test_again_while_its_incident_is_open(status: Status) -> None:
    assert isinstance(correlate(alert(), Known("firing", incident(status)), incident(status)), Nothing)
    joined = correlate(alert(), Known("resolved", incident(status, firing=())), None)
    assert isinstance(joined, Join)
    assert joined.incident == "i"


@pytest.mark.parametrize("status", sorted(ENDED))
@pytest.mark.parametrize("before", ["firing", "resolved"])
def test_again_after_its_incident_ended(status: Status, before: str) -> None:
    assert isinstance(correlate(alert(), Known(before, incident(status)), None), Open)
    assert isinstance(correlate(alert(), Known(before, incident(status)), incident(S.OPEN)), Join)


def test_acknowledged_where_it_came_from_somebody_is_on_it() -> None:
    said = alert("acknowledged", details={"by": "ann"})
    now = correlate(said, Known("firing", incident(S.OPEN)), None)
    assert now == Acknowledge("i", "ann", "ann acknowledged it in am")
    assert correlate(alert("acknowledged"), Known("firing", incident(S.OPEN)), None) == Acknowledge(
        "i", "am", "am acknowledged it in am"
    )
    assert isinstance(correlate(said, None, incident(S.OPEN)), Nothing)
    assert isinstance(correlate(said, Known("firing", incident(S.RESOLVED)), None), Nothing)


def test_a_resolved_alert_that_never_fired_is_nothing() -> None:
    assert isinstance(correlate(alert("resolved"), None, incident(S.OPEN)), Nothing)
    assert isinstance(correlate(alert("resolved"), Known("firing", None), incident(S.OPEN)), Nothing)
    assert isinstance(correlate(alert("resolved"), Known("resolved", incident(S.OPEN)), None), Nothing)


@pytest.mark.parametrize("status", sorted(ENDED))
def test_resolving_after_the_end_is_nothing(status: Status) -> None:
    assert isinstance(correlate(alert("resolved"), Known("firing", incident(status)), None), Nothing)


def resolve(**given: Any) -> Resolve:
    meaning = correlate(alert("resolved"), Known("firing", incident(**given)), None)
    assert isinstance(meaning, Resolve)
    return meaning


@pytest.mark.parametrize("status", OPEN)
def test_the_last_alert_ends_what_nothing_runs_for(status: Status) -> None:
    assert not resolve(status=status).closes
    assert resolve(status=status, outcome="stopped").closes
    assert resolve(status=status, run=0).closes
    assert not resolve(status=status, outcome="stopped", firing=(ME, "other")).closes


def test_by_itself_means_that_nothing_was_done() -> None:
    assert resolve(status=S.WAITING).unasked
    assert not resolve(status=S.ACTING, deeds={"k": Deed(key="k", action="restart")}).unasked
    assert not resolve(status=S.WAITING, firing=(ME, "other")).unasked


def test_alerts_belong_together_by_service_runbook_and_place() -> None:
    one, other = alert(), alert(fingerprint="g")
    assert group_key(one, "shop", "down") == group_key(other, "shop", "down")
    assert group_key(one, "shop", "down") != group_key(one, "shop", "late")
    assert group_key(one, "shop", "down") != group_key(alert(region="eu"), "shop", "down")
    assert group_key(one, "shop", "down") != group_key(alert(environment="staging"), "shop", "down")
    assert group_key(one, None, "down") != group_key(other, None, "down")
    assert group_key(one, "shop", None) != group_key(other, "shop", None)


OTHER = alert_id(alert(fingerprint="g"))


@pytest.mark.parametrize(
    ("given", "again"),
    [
        ({}, False),  # its run looks after it
        ({"outcome": "escalated", "firing": ()}, True),  # all was quiet
        ({"outcome": "mitigated", "firing": (OTHER,)}, True),  # another one, never seen here
        ({"outcome": "escalated", "firing": (OTHER,), "resolved_alerts": (ME,)}, False),  # comes and goes beside others
        ({"outcome": "escalated", "firing": (), "assignee": "anna"}, False),
    ],
)
def test_whether_anybody_would_hear_of_one_that_joins(given: dict[str, Any], again: bool) -> None:
    joined = correlate(alert(), None, incident(S.ESCALATED, **given))
    assert isinstance(joined, Join)
    assert joined.again is again


def test_what_fires_comes_before_what_has_resolved() -> None:
    """A label changed: the old alert resolves and the new one fires, in one body."""
    old, new = alert("resolved"), alert(fingerprint="g")
    assert in_order([old, new]) == [new, old]
    assert in_order([alert("resolved"), alert()]) == [alert("resolved"), alert()]

"""What an alert means next to what is known, over every status an incident can be in."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from quell.incident.alert import Alert, AlertStatus
from quell.incident.incident import ENDED, Incident, Status
from quell.incident.parts import Deed
from quell.intake.correlate import (
    FLAPPING,
    Acknowledge,
    Around,
    Hold,
    Join,
    Known,
    Meaning,
    Nothing,
    Open,
    Reopen,
    Resolve,
    alert_id,
    flaps,
    in_order,
)
from quell.intake.correlate import correlate as correlated
from quell.intake.group import Near
from quell.intake.rules import Flapping
from quell.intake.suppress import Quiet

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
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def correlate(one: Alert, known: Known | None, group: Incident | None, **more: Any) -> Meaning:
    return correlated(one, Around(now=NOW, known=known, group=group, **more))


def incident(status: Status, *, id: str = "i", firing: tuple[str, ...] = (ME,), run: int = 1, **more: Any) -> Incident:
    return Incident(id=id, tenant="default", status=status, firing=firing, run=run, **more)


def test_a_new_alert_opens_or_joins() -> None:
    assert isinstance(correlate(alert(), None, None), Open)
    assert correlate(alert(), None, incident(S.OPEN)) == Join("i", "incident i of the same group is open")


@pytest.mark.parametrize("status", OPEN)
def test_again_while_its_incident_is_open(status: Status) -> None:
    assert isinstance(correlate(alert(), Known("firing", incident(status)), incident(status)), Nothing)
    joined = correlate(alert(), Known("resolved", incident(status, firing=())), None)
    assert isinstance(joined, Join)
    assert joined.incident == "i"


@pytest.mark.parametrize("status", sorted(ENDED))
@pytest.mark.parametrize("before", ["firing", "resolved"])
def test_again_after_its_incident_ended(status: Status, before: str) -> None:
    long_ago = incident(status, ended_at=NOW - timedelta(hours=2))
    assert isinstance(correlate(alert(), Known(before, long_ago), None), Open)
    assert isinstance(correlate(alert(), Known(before, long_ago), incident(S.OPEN)), Join)


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


# Again, a moment after the end.


def ended(status: Status = S.RESOLVED, ago_s: float = 60.0, **more: Any) -> Incident:
    return incident(status, ended_at=NOW - timedelta(seconds=ago_s), **more)


def test_a_moment_after_it_was_resolved_it_is_opened_again() -> None:
    meaning = correlate(alert(), Known("resolved", ended()), None)
    assert meaning == Reopen("i", "it fires again 1m after incident i was resolved")
    assert isinstance(correlate(alert(), None, ended()), Reopen)
    assert isinstance(correlate(alert(), None, ended(ago_s=299)), Reopen)
    assert isinstance(correlate(alert(), None, ended(ago_s=300)), Open)


def test_what_was_closed_stays_closed_and_what_is_open_comes_first() -> None:
    assert isinstance(correlate(alert(), Known("resolved", ended(S.CLOSED)), ended(S.CLOSED)), Open)
    assert isinstance(correlate(alert(), Known("resolved", ended()), incident(S.OPEN, id="j")), Join)


# Quiet.

QUIET = Quiet("silence s", "silenced by anna", NOW + timedelta(hours=1))


def test_what_is_kept_quiet_is_held_until_then() -> None:
    assert correlate(alert(), None, None, quiet=QUIET) == Hold("silence s", "silenced by anna", QUIET.until)
    assert isinstance(correlate(alert(), None, incident(S.OPEN), quiet=QUIET), Hold)
    assert isinstance(correlate(alert(), Known("resolved", ended()), None, quiet=QUIET), Hold)


def test_quiet_changes_nothing_about_an_incident_that_it_is_part_of() -> None:
    assert isinstance(correlate(alert(), Known("firing", incident(S.OPEN)), None, quiet=QUIET), Nothing)
    assert isinstance(correlate(alert("resolved"), Known("firing", incident(S.OPEN)), None, quiet=QUIET), Resolve)


# Near.


def test_what_is_near_is_joined_but_its_own_group_comes_first() -> None:
    near = Near(incident(S.OPEN, id="db"), "shop needs db", causes=False)
    assert correlate(alert(), None, None, near=[near]) == Join("db", "shop needs db")
    cause = replace(near, causes=True)
    meaning = correlate(alert(), None, None, near=[cause])
    assert isinstance(meaning, Join)
    assert meaning.causes
    joined = correlate(alert(), None, incident(S.OPEN), near=[near])
    assert isinstance(joined, Join)
    assert joined.incident == "i"
    assert correlate(alert(), None, None, near=[Near(ended(id="db"), "labels changed")]) == Reopen(
        "db", "labels changed"
    )


# Coming and going.


def changes(count: int, every_s: float = 60.0, last: datetime = NOW) -> tuple[datetime, ...]:
    return tuple(last - timedelta(seconds=every_s * back) for back in reversed(range(count)))


def test_what_comes_and_goes_is_held_on_to_until_it_is_quiet() -> None:
    before = changes(5, last=NOW - timedelta(seconds=60))
    flapping = Known("firing", incident(S.OPEN), changes=before)
    meaning = correlate(alert("resolved"), flapping, None)
    assert isinstance(meaning, Hold)
    assert (meaning.by, meaning.until) == (FLAPPING, NOW + timedelta(seconds=300))
    held = Known("resolved", incident(S.OPEN), FLAPPING, changes(6))
    assert isinstance(correlate(alert(), held, None), Nothing)
    still = correlate(alert("resolved"), held, None, again=True)
    assert isinstance(still, Hold)
    quiet = Known("resolved", incident(S.OPEN), FLAPPING, changes(6, last=NOW - timedelta(seconds=300)))
    assert isinstance(correlate(alert("resolved"), quiet, None, again=True), Resolve)


def test_a_few_changes_are_no_flapping() -> None:
    calm = Known("firing", incident(S.OPEN), changes=changes(4, last=NOW - timedelta(seconds=60)))
    assert isinstance(correlate(alert("resolved"), calm, None), Resolve)


@pytest.mark.parametrize(
    ("rule", "at", "expected"),
    [
        (Flapping(), changes(6), True),
        (Flapping(), changes(5), False),
        (Flapping(), changes(6, 180.0), True),
        (Flapping(), changes(6, 181.0), False),
        (Flapping(changes=0), changes(9), False),
        (Flapping(changes=2, within=60), changes(9), True),
    ],
)
def test_what_counts_as_coming_and_going(rule: Flapping, at: tuple[datetime, ...], expected: bool) -> None:
    assert flaps(rule, at) is expected

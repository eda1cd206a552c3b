"""What follows from an alert that was placed: a new incident, part of one, the end of one, or nothing yet.

Works inside an open ``Change``. Never does: find out what an alert means, commit.
"""

from __future__ import annotations

import sqlalchemy as sa

from quell.incident.event import EventKind
from quell.intake import accept
from quell.intake.correlate import Acknowledge, Join, Open, Reopen, Resolve
from quell.intake.group import raised
from quell.intake.placing import Placed
from quell.respond import people, regroup, turns
from quell.respond.begin import Beginning, begin, next_run
from quell.respond.change import Change
from quell.store.schema import alerts


def settle(change: Change, placed: Placed, raise_at: int = 0) -> str | None:
    """Carry it out, and store the alert. The incident that it belongs to now, if any."""
    incident: str | None = None
    match placed.meaning:
        case Open():
            incident = opened(change, placed)
        case Join(incident=incident) as join:
            _joined(change, placed, join, raise_at)
        case Reopen(incident=incident) as reopened:
            regroup.reopen(change, incident, placed.alert, reopened.reason)
            change.tell_alert(incident, EventKind.ALERT_JOINED, placed.id, placed.alert, reopened.reason)
        case Resolve(incident=incident) as resolved:
            _resolved(change, placed, resolved)
        case Acknowledge(incident=incident, by=by):
            people.acknowledge(change, incident, by)
    accept.belongs(change.connection, placed, incident)
    return incident


def opened(change: Change, placed: Placed, group_key: str | None = None) -> str:
    """A new incident from an alert."""
    alert, plan = placed.alert, placed.route.plan
    beginning = Beginning(
        title=alert.summary[:300], severity=placed.severity or "P3", tenant=alert.tenant,
        environment=alert.environment, region=alert.region, service=placed.service, service_why=placed.service_why,
        plan=plan, why=placed.route.why, alert=alert, alert_id=placed.id, source=alert.source,
        group_key=placed.group_key if group_key is None else group_key,
    )  # fmt: skip
    context, told = begin(change.means, change.connection, beginning)
    change.told += told
    return context.incident


def _joined(change: Change, placed: Placed, join: Join, raise_at: int) -> None:
    severity = _more_severe(change, placed, join.incident, raise_at)
    change.tell_alert(
        join.incident, EventKind.ALERT_JOINED, placed.id, placed.alert, join.reason, severity=severity
    )  # fmt: skip
    if join.causes and placed.service is not None:
        regroup.cause_found(
            change, join.incident, placed.id, placed.alert, service=placed.service, plan=placed.route.plan,
            why=join.reason,
        )  # fmt: skip
    known = change.incident(join.incident)
    turns.hurry(change.connection, known)
    if join.again and known.outcome is not None:
        why = f"alert {placed.alert.name!r} fires, and no run looks after it"
        change.told += next_run(change.means, change.connection, known, placed.alert, why)


def _more_severe(change: Change, placed: Placed, incident: str, raise_at: int) -> str | None:
    """The incident's severity when the alert's service is the one that makes it affect so many; else None."""
    if not raise_at or placed.service is None:
        return None
    services = set(
        change.connection.execute(sa.select(alerts.c.service).where(alerts.c.incident == incident).distinct()).scalars()
    ) - {None}
    if placed.service in services or len(services) + 1 != raise_at:
        return None
    known = change.incident(incident)
    own = placed.alert.severity.value if placed.alert.severity else known.severity
    return raised(min(known.severity, own), len(services) + 1, raise_at)


def _resolved(change: Change, placed: Placed, resolved: Resolve) -> None:
    change.tell_alert(resolved.incident, EventKind.ALERT_RESOLVED, placed.id, placed.alert, resolved.reason)
    if resolved.closes:
        reason = {"reason": "every alert has resolved", "by": "quell"}
        change.tell(resolved.incident, EventKind.RESOLVED, reason)
    elif resolved.unasked:
        change.withdraw(resolved.incident, "the alert resolved by itself")

"""What an alert means next to what is known: a new incident, part of one, the end of one, or nothing new. Pure.

Never does: look anything up; the caller hands in what is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quell.incident.alert import Alert, AlertStatus
from quell.incident.incident import ENDED, Incident


@dataclass(frozen=True, slots=True)
class Known:
    """What is stored of this alert: its last status, and the incident it belongs to as it is now."""

    status: str
    incident: Incident | None


@dataclass(frozen=True, slots=True)
class Open:
    """A new incident."""

    reason: str


@dataclass(frozen=True, slots=True)
class Join:
    """Part of an incident that is open already. ``again``: its run is over and nobody has it, so it needs another."""

    incident: str
    reason: str
    again: bool = False


@dataclass(frozen=True, slots=True)
class Resolve:
    """The alert has resolved. ``closes``: nothing fires and nothing runs any more, so the incident is over."""

    incident: str
    reason: str
    closes: bool
    unasked: bool


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Somebody is on it, as they said where the alert came from."""

    incident: str
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Nothing:
    """Nothing follows, and why."""

    reason: str


Meaning = Open | Join | Resolve | Acknowledge | Nothing


def group_key(alert: Alert, service: str | None, runbook: str | None) -> str:
    """Alerts with the same key belong together: one service, one runbook, one place."""
    what = f"{service}/{runbook}" if service and runbook else f"alert/{alert.fingerprint}"
    return f"{alert.environment}/{alert.region}/{what}"


def in_order(alerts: Sequence[Alert]) -> list[Alert]:
    """What fires before what has resolved: an alert whose labels changed comes as both in one body, and goes on.

    Of the same alert twice, the order stays: the later word counts.
    """
    names = [alert_id(alert) for alert in alerts]
    if len(set(names)) < len(names):
        return list(alerts)
    return sorted(alerts, key=lambda alert: alert.status is AlertStatus.RESOLVED)


def correlate(alert: Alert, known: Known | None, open_incident: Incident | None) -> Meaning:
    """``open_incident``: one of the same group that has not ended."""
    if alert.status is AlertStatus.RESOLVED:
        return _resolved(alert, known)
    if alert.status is AlertStatus.ACKNOWLEDGED:
        return _acknowledged(alert, known)
    mine = known.incident if known else None
    if known and known.status == AlertStatus.FIRING.value and mine and mine.status not in ENDED:
        return Nothing(f"already firing in incident {mine.id}")
    if mine is not None and mine.status not in ENDED:
        return Join(mine.id, "it fires again in the incident it belongs to", _unattended(mine, alert))
    if open_incident is not None:
        why = "the same service and runbook have an open incident"
        return Join(open_incident.id, why, _unattended(open_incident, alert))
    return Open("no open incident of the same service and runbook")


def _unattended(incident: Incident, alert: Alert) -> bool:
    """Whether nobody would hear of it: the run is over, nobody has taken the incident, and this is news.

    An alert that comes and goes beside others that fire on is none.
    """
    over = incident.outcome is not None and incident.assignee is None
    return over and (not incident.firing or alert_id(alert) not in incident.resolved_alerts)


def _resolved(alert: Alert, known: Known | None) -> Meaning:
    if known is None:
        return Nothing("it resolved without ever having fired here")
    if known.incident is None or known.incident.status in ENDED:
        return Nothing("its incident has ended")
    if known.status == AlertStatus.RESOLVED.value:
        return Nothing("it had resolved already")
    incident = known.incident
    left = [one for one in incident.firing if one != alert_id(alert)]
    # Without a run, or after it, nobody but the alert can say that it is over; while one runs, it does.
    idle = incident.run == 0 or incident.outcome is not None
    return Resolve(
        incident.id, "the source says that it has resolved", not left and idle,
        not left and not incident.acted,
    )  # fmt: skip


def _acknowledged(alert: Alert, known: Known | None) -> Meaning:
    if known is None:
        return Nothing("it was acknowledged without ever having fired here")
    if known.incident is None or known.incident.status in ENDED:
        return Nothing("its incident has ended")
    by = str(alert.details.get("by") or alert.source)
    return Acknowledge(known.incident.id, by, f"{by} acknowledged it in {alert.source}")


def alert_id(alert: Alert) -> str:
    """The stable id of an alert: where it comes from and its fingerprint."""
    return f"{alert.tenant}.{alert.source}.{alert.environment}.{alert.region}.{alert.fingerprint}"

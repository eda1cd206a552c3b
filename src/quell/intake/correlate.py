"""What an alert means next to what is known: a new incident, part of one, the end of one, or nothing new. Pure.

Never does: look anything up; the caller hands in what is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from quell.incident.alert import Alert, AlertStatus
from quell.incident.incident import ENDED, Incident, Status
from quell.intake.group import Near
from quell.intake.rules import Correlation, Flapping
from quell.intake.suppress import Quiet
from quell.runbook.quantities import spoken

FLAPPING = "flapping"
"""What holds an alert on to its incident though it has resolved for now."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is stored of this alert: its last status, and the incident it belongs to as it is now.

    ``held``: what keeps its last word from counting, if anything. ``changes``: when it changed between firing and
    resolved, oldest first.
    """

    status: str
    incident: Incident | None
    held: str = ""
    changes: tuple[datetime, ...] = ()


@dataclass(frozen=True, slots=True)
class Around:
    """What an alert meets. ``group``: the newest incident of its group, whether or not it has ended; ``near``: open
    ones that may have the same cause, the nearest first; ``again``: nothing new came, it is only time to look again."""

    now: datetime
    known: Known | None = None
    group: Incident | None = None
    near: Sequence[Near] = ()
    quiet: Quiet | None = None
    rules: Correlation = field(default_factory=Correlation)
    again: bool = False


@dataclass(frozen=True, slots=True)
class Open:
    """A new incident."""

    reason: str


@dataclass(frozen=True, slots=True)
class Join:
    """Part of an incident that is open already. ``again``: its run is over and nobody has it, so it needs another.
    ``causes``: it is what the incident comes from, as far as the catalogue knows."""

    incident: str
    reason: str
    again: bool = False
    causes: bool = False


@dataclass(frozen=True, slots=True)
class Reopen:
    """An incident that was resolved a moment ago is not over."""

    incident: str
    reason: str


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
class Hold:
    """Nothing follows for now. ``by``: what holds it; ``until``: when to look again, None: soon, and again."""

    by: str
    reason: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Nothing:
    """Nothing follows, and why."""

    reason: str


Meaning = Open | Join | Reopen | Resolve | Acknowledge | Hold | Nothing


def in_order(alerts: Sequence[Alert]) -> list[Alert]:
    """What fires before what has resolved: an alert whose labels changed comes as both in one body, and goes on.

    Of the same alert twice, the order stays: the later word counts.
    """
    names = [alert_id(alert) for alert in alerts]
    if len(set(names)) < len(names):
        return list(alerts)
    return sorted(alerts, key=lambda alert: alert.status is AlertStatus.RESOLVED)


def correlate(alert: Alert, around: Around) -> Meaning:
    match alert.status:
        case AlertStatus.RESOLVED:
            return _resolved(alert, around)
        case AlertStatus.ACKNOWLEDGED:
            return _acknowledged(alert, around.known)
    known, group = around.known, around.group
    mine = known.incident if known else None
    if mine is not None and mine.status not in ENDED:
        if known and known.status == AlertStatus.FIRING.value:
            return Nothing(f"already firing in incident {mine.id}")
        if known and known.held == FLAPPING and alert_id(alert) in mine.firing:
            return Nothing(f"it comes and goes, and counts as firing in incident {mine.id}")
    if around.quiet is not None:
        return Hold(around.quiet.by, around.quiet.why, around.quiet.until)
    if mine is not None and mine.status not in ENDED:
        return Join(mine.id, "it fires again in the incident it belongs to", _unattended(mine, alert))
    if group is not None and group.status not in ENDED:
        return Join(group.id, f"incident {group.id} of the same group is open", _unattended(group, alert))
    if around.near:
        near = around.near[0]
        if near.incident.status in ENDED:
            return Reopen(near.incident.id, near.why)
        return Join(near.incident.id, near.why, _unattended(near.incident, alert), near.causes)
    for one in (mine, group):
        if one is not None and goes_on(one, around.now, around.rules.reopen):
            ago = spoken(round((around.now - (one.ended_at or around.now)).total_seconds()))
            return Reopen(one.id, f"it fires again {ago} after incident {one.id} was resolved")
    return Open(_why_new(around))


def goes_on(incident: Incident, now: datetime, reopen_s: float) -> bool:
    """Whether another alert may still be part of it: it is open, or was resolved a moment ago. What was closed is
    closed for good."""
    if incident.status not in ENDED:
        return True
    if incident.status is not Status.RESOLVED or incident.ended_at is None:
        return False
    return now - incident.ended_at < timedelta(seconds=reopen_s)


def _why_new(around: Around) -> str:
    before = around.group
    if before is None or before.ended_at is None:
        return "no incident of its group is open, and none near it"
    ago = spoken(round((around.now - before.ended_at).total_seconds()))
    return f"the last incident of its group, {before.id}, has been {before.status.value} for {ago}"


def _unattended(incident: Incident, alert: Alert) -> bool:
    """Whether nobody would hear of it: the run is over, nobody has taken the incident, and this is news.

    An alert that comes and goes beside others that fire on is none.
    """
    over = incident.outcome is not None and incident.assignee is None
    return over and (not incident.firing or alert_id(alert) not in incident.resolved_alerts)


def _resolved(alert: Alert, around: Around) -> Meaning:
    known = around.known
    if known is None:
        return Nothing("it resolved without ever having fired here")
    if known.incident is None or known.incident.status in ENDED:
        return Nothing("its incident has ended" if known.incident else "nothing had followed from it")
    if known.status == AlertStatus.RESOLVED.value and not known.held:
        return Nothing("it had resolved already")
    if (until := _flaps_until(known, around)) is not None:
        times = len(known.changes)
        return Hold(FLAPPING, f"it comes and goes ({times} times lately), and counts as firing for now", until)
    incident = known.incident
    left = [one for one in incident.firing if one != alert_id(alert)]
    # Without a run, or after it, nobody but the alert can say that it is over; while one runs, it does.
    idle = incident.run == 0 or incident.outcome is not None
    why = "it has stayed resolved" if around.again else "the source says that it has resolved"
    return Resolve(incident.id, why, not left and idle, not left and not incident.acted)


def _flaps_until(known: Known, around: Around) -> datetime | None:
    """Until when its last word does not count. What is stored is as it was before this word, unless it came before."""
    rule = around.rules.flapping
    changes = known.changes if around.again else (*known.changes, around.now)
    if not flaps(rule, changes):
        return None
    settled = changes[-1] + timedelta(seconds=rule.quiet)
    return settled if settled > around.now else None


def flaps(rule: Flapping, changes: Sequence[datetime]) -> bool:
    """Whether an alert that changed at these moments (oldest first) comes and goes."""
    if not rule.changes or len(changes) < rule.changes:
        return False
    return changes[-1] - changes[-rule.changes] <= timedelta(seconds=rule.within)


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

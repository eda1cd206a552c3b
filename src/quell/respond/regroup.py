"""What becomes of incidents when it turns out what belongs together: a late cause, a merge, a split, a second fire.

A run that has not acted is superseded: it ends, the next one starts, with the reason. Once an action has its intent, a
run goes on to its end. Each works inside an open ``Change``. Never does: find out what belongs together.
"""

from __future__ import annotations

from collections.abc import Sequence

from quell.errors import Conflict, InvalidInput, NotFound, Problem
from quell.incident.alert import Alert
from quell.incident.event import EventKind, NewEvent, Stream
from quell.incident.incident import ENDED, Incident
from quell.respond import escalate
from quell.respond.begin import next_run
from quell.respond.change import Change
from quell.respond.means import Context
from quell.respond.people import named
from quell.respond.state import SUPERSEDED
from quell.runbook.plan import Escalation, Plan
from quell.store import events, queries, reported, turns
from quell.store.database import now_us
from quell.store.schema import runs


def cause_found(
    change: Change, incident: str, alert_id: str, alert: Alert, *, service: str, plan: Plan | None, why: str
) -> None:  # fmt: skip
    """An alert that joined is what the incident comes from: its service is the incident's now, and its runbook the one
    to follow, unless something has been done already."""
    known = _held(change, incident)
    payload = {"alert": alert_id, "name": alert.name, "service": service, "why": why}
    change.tell(known.id, EventKind.CAUSE_FOUND, payload | ({"runbook": plan.id} if plan else {}))
    if plan is None or known.assignee is not None or (known.run and known.plan == plan.hash):
        return
    if known.acted:
        change.tell(known.id, EventKind.NOTED, {"text": f"{why}; its run goes on, for something was done already"})
        return
    reason = f"{alert.name!r} is what it comes from"
    supersede(change, known, reason)
    change.told += next_run(change.means, change.connection, change.incident(known.id), alert, reason, plan=plan)


def supersede(change: Change, known: Incident, reason: str) -> None:
    """End the run that has not acted: whatever it finds out from now on changes nothing."""
    if not known.run or known.outcome is not None:
        return
    mine = (runs.c.incident == known.id, runs.c.number == known.run)
    change.connection.execute(runs.update().where(*mine).values(ended_at=now_us(), outcome=SUPERSEDED))
    turns.end(change.connection, known.id, known.run)
    context = Context(incident=known.id, tenant=known.tenant, run=known.run)
    payload = {"number": known.run, "outcome": SUPERSEDED, "reason": reason}
    over = NewEvent(kind=EventKind.RUN_ENDED, payload=payload, key=f"{context.run_id}/ended")
    change.told += change.means.append(change.connection, context, [over])
    change.withdraw(known.id, reason)


def reopen(change: Change, incident: str, alert: Alert | None, reason: str, by: str = "quell") -> None:
    """It is not over. Whoever had taken it is paged with everybody else; without them its runbook runs again."""
    known = _held(change, incident)
    if turns.is_queued(change.connection, known.id, known.run):
        supersede(change, known, reason)  # its turn would come beside that of the next
    change.tell(known.id, EventKind.REOPENED, {"reason": reason, "by": by}, by)
    known = change.incident(known.id)
    if known.assignee is None and known.run:
        change.told += next_run(change.means, change.connection, known, alert, reason)
        return
    has = f"; {known.assignee} has it" if known.assignee else ""
    plan = queries.plan(change.connection, known.plan) if known.plan else None
    context = Context(incident=known.id, tenant=known.tenant, run=known.run or 1, plan=known.plan or "")
    page = escalate.Page(
        context=context, escalation=plan.escalation if plan else Escalation(), reason=f"{reason}{has}",
        reopened=known.reopened,
    )  # fmt: skip
    change.means.durable.start_in(change.connection, escalate.WORKFLOW, page.key, page.model_dump(mode="json"))


def merge(change: Change, incident: str, into: str, by: str, reason: str) -> tuple[Incident, Incident]:
    """One incident goes on in another: its alerts are the other's, its run ends.

    Raises ``NotFound``, ``InvalidInput``, and ``Conflict``: one of them has ended, or something was begun for it.
    """
    named(by)
    gone, stays = change.incident(incident), change.incident(into)
    if gone.id == stays.id:
        raise InvalidInput([Problem("an incident cannot be merged into itself", "merge", path="into", found=into)])
    if gone.tenant != stays.tenant:
        raise NotFound("incident", into)
    # In one order, whoever merges what into what at the same moment.
    for name in sorted((gone.id, stays.id)):
        events.hold(change.connection, gone.tenant, Stream.INCIDENT, name)
    gone, stays = change.incident(gone.id), change.incident(stays.id)
    for known in (gone, stays):
        if known.status in ENDED:
            raise Conflict(f"incident {known.id} is over: {known.reason}")
    if gone.acted and gone.run and gone.outcome is None:
        raise Conflict(f"something was begun for incident {gone.id}; merge it when its run has ended, or the other way")
    said = f"incident {gone.id} was merged into {stays.id} by {by}" + (f": {reason}" if reason else "")
    supersede(change, gone, said)
    change.withdraw(gone.id, said)
    for alert_id in (*gone.firing, *gone.resolved_alerts):
        if alert_id in (*stays.firing, *stays.resolved_alerts):
            continue
        alert = reported.alert_of(change.connection, alert_id)
        if alert is not None:
            change.tell_alert(stays.id, EventKind.ALERT_JOINED, alert_id, alert, said)
            if alert_id in gone.resolved_alerts:
                change.tell_alert(stays.id, EventKind.ALERT_RESOLVED, alert_id, alert, "it had resolved before")
    change.tell(stays.id, EventKind.NOTED, {"text": said, "by": by}, by)
    change.tell(gone.id, EventKind.MERGED, {"into": stays.id, "by": by, "reason": reason}, by)
    change.seen_by(gone, by)
    return change.incident(gone.id), change.incident(stays.id)


def leave(change: Change, incident: str, alerts: Sequence[str], to: str, by: str, reason: str) -> None:
    """Alerts of an incident go on in another one."""
    for alert_id in alerts:
        alert = reported.alert_of(change.connection, alert_id)
        payload = {"alert": alert_id, "to": to, "by": by, "why": reason, "name": alert.name if alert else ""}
        change.tell(incident, EventKind.ALERT_LEFT, payload, by)


def to_split(change: Change, incident: str, alerts: Sequence[str], by: str) -> tuple[Incident, list[str]]:
    """The incident, held, and the full ids of the alerts that shall leave it.

    Raises ``NotFound`` (an alert that is none of its), ``InvalidInput``, ``Conflict`` (it is over, or nothing stays).
    """
    named(by)
    known = _held(change, incident)
    if known.status in ENDED:
        raise Conflict(f"already {known.status.value}: {known.reason}")
    mine = (*known.firing, *known.resolved_alerts)
    chosen = list(dict.fromkeys(_alert_named(change, one, mine) for one in alerts))
    if not chosen:
        raise InvalidInput([Problem("say which alerts", "split", path="alerts", expected="one of its alerts or more")])
    if len(chosen) == len(mine):
        raise Conflict("every alert would leave, and nothing would stay: it is one incident already")
    return known, chosen


def _alert_named(change: Change, name: str, mine: Sequence[str]) -> str:
    """By its id, the end of it (its fingerprint), or its name when only one is called so."""
    if name in mine:
        return name
    found = [one for one in mine if one.rsplit(".", 1)[-1].startswith(name)] if name else []
    if not found:
        alerts = ((one, reported.alert_of(change.connection, one)) for one in mine)
        found = [one for one, alert in alerts if alert is not None and alert.name == name]
    if len(found) > 1:
        fingerprints = ", ".join(one.rsplit(".", 1)[-1] for one in found)
        raise Conflict(f"several of its alerts are called {name!r}; name one of {fingerprints}")
    if not found:
        raise NotFound("alert of this incident", name)
    return found[0]


def _held(change: Change, incident: str) -> Incident:
    """As it is, and stays until this change is committed. Raises ``NotFound``."""
    known = change.incident(incident)
    events.hold(change.connection, known.tenant, Stream.INCIDENT, known.id)
    return change.incident(known.id)

"""An incident is a fold over its events; this file is the only place that moves its status.

``TRANSITIONS[status][kind]`` is the next status; a kind that is missing there and not in ``STAYS`` is an error.
The docs' diagram is drawn from the same table. Never does: I/O, read a clock, decide anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from quell.incident.access import same_person
from quell.incident.action import Asks
from quell.incident.event import Event, EventKind
from quell.incident.parts import Approval, Deed, Override, Shadowed, Step


class Status(StrEnum):
    OPEN = "open"
    DIAGNOSING = "diagnosing"
    WAITING = "waiting_approval"
    ACTING = "acting"
    VERIFYING = "verifying"
    MITIGATED = "mitigated"
    ESCALATED = "escalated"
    RESOLVED = "resolved"
    CLOSED = "closed"


ENDED = frozenset({Status.RESOLVED, Status.CLOSED})
"""Nothing more is done by itself."""

_K, _S = EventKind, Status

_WORKING = {
    _K.RUN_STARTED: _S.DIAGNOSING,
    _K.APPROVAL_REQUESTED: _S.WAITING,
    _K.ACTION_INTENDED: _S.ACTING,
    _K.VERIFICATION_STARTED: _S.VERIFYING,
    _K.ESCALATED: _S.ESCALATED,
    _K.MITIGATED: _S.MITIGATED,
    _K.RESOLVED: _S.RESOLVED,
    # What it was about goes on elsewhere.
    _K.MERGED: _S.RESOLVED,
}

TRANSITIONS: dict[Status, dict[EventKind, Status]] = {
    _S.OPEN: _WORKING,
    _S.DIAGNOSING: _WORKING,
    _S.WAITING: {**_WORKING, _K.APPROVAL_ANSWERED: _S.DIAGNOSING},
    _S.ACTING: _WORKING,
    _S.VERIFYING: _WORKING,
    _S.MITIGATED: _WORKING,
    # A person has it now: what still runs is recorded, and only the end of it moves the status.
    _S.ESCALATED: {
        _K.RUN_STARTED: _S.DIAGNOSING,
        _K.MITIGATED: _S.MITIGATED,
        _K.RESOLVED: _S.RESOLVED,
        _K.MERGED: _S.RESOLVED,
    },
    _S.RESOLVED: {_K.REOPENED: _S.OPEN, _K.CLOSED: _S.CLOSED},
    _S.CLOSED: {},
}

_RECORDS = frozenset(
    {
        _K.ALERT_JOINED, _K.ALERT_RESOLVED, _K.ALERT_LEFT, _K.CAUSE_FOUND,
        _K.RUN_QUEUED, _K.RUN_ENDED, _K.CHECK_FINISHED,
        _K.DECIDED, _K.APPROVAL_ANSWERED, _K.ACTION_REFUSED, _K.ACTION_FINISHED, _K.VERIFICATION_FINISHED,
        _K.NOTIFIED, _K.ACKNOWLEDGED, _K.UNACKNOWLEDGED, _K.TAKEN, _K.HANDED_OVER, _K.RETURNED, _K.OVERRIDDEN,
        _K.STEP_RECORDED, _K.ACTION_SHADOWED, _K.OBLIGATION_MADE, _K.OBLIGATION_ENDED, _K.NOTED,
    }
)  # fmt: skip

STAYS: dict[Status, frozenset[EventKind]] = {
    **dict.fromkeys(Status, _RECORDS),
    _S.ESCALATED: _RECORDS
    | {_K.APPROVAL_REQUESTED, _K.ACTION_INTENDED, _K.VERIFICATION_STARTED, _K.ESCALATED},
    _S.RESOLVED: frozenset(
        {_K.ALERT_JOINED, _K.ALERT_RESOLVED, _K.ALERT_LEFT, _K.RUN_ENDED, _K.NOTIFIED,
         _K.OBLIGATION_MADE, _K.OBLIGATION_ENDED, _K.NOTED, _K.CHECK_FINISHED, _K.ACTION_FINISHED,
         _K.VERIFICATION_FINISHED, _K.APPROVAL_ANSWERED, _K.ACKNOWLEDGED, _K.ACTION_REFUSED,
         _K.ACTION_SHADOWED, _K.STEP_RECORDED, _K.SHADOW_COMPARED,
         # What was kept for now is taken back some day; no other intent gets past the frame.
         _K.ACTION_INTENDED,
         # Somebody ended it while a step of its run was on the way.
         _K.DECIDED, _K.APPROVAL_REQUESTED, _K.VERIFICATION_STARTED, _K.ESCALATED, _K.RESOLVED, _K.MITIGATED,
         _K.PRUNED}
    ),
    _S.CLOSED: frozenset({_K.NOTED, _K.NOTIFIED, _K.STEP_RECORDED, _K.SHADOW_COMPARED, _K.PRUNED}),
}  # fmt: skip
"""Events that are recorded and leave the status where it is."""


class UndeclaredTransition(ValueError):
    """An event came that the table does not know in this status."""


def next_status(status: Status, kind: EventKind) -> Status:
    """Raises ``UndeclaredTransition``."""
    if kind in TRANSITIONS[status]:
        return TRANSITIONS[status][kind]
    if kind in STAYS[status]:
        return status
    raise UndeclaredTransition(f"{kind} in status {status}")


class Incident(BaseModel):
    """The state of an incident after its events so far. All times UTC."""

    # A process of an older version reads what a newer one has written.
    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str
    tenant: str
    status: Status = Status.OPEN
    title: str = ""
    severity: str = "P3"
    service: str | None = None
    runbook: str | None = None
    opened_at: datetime | None = None
    ended_at: datetime | None = None
    updated_at: datetime | None = None
    seq: int = 0
    run: int = 0
    plan: str | None = None
    queued: str = ""
    """What its run waits for before it begins."""
    firing: tuple[str, ...] = ()
    resolved_alerts: tuple[str, ...] = ()
    last_alert_at: datetime | None = None
    cause: str | None = None
    """The alert that the others come from, as far as the catalogue knows."""
    merged_into: str | None = None
    reopened: int = 0
    findings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    decision: dict[str, Any] | None = None
    approvals: dict[str, Approval] = Field(default_factory=dict)
    deeds: dict[str, Deed] = Field(default_factory=dict)
    refusals: tuple[dict[str, Any], ...] = ()
    verdict: str | None = None
    outcome: str | None = None
    reason: str = ""
    assignee: str | None = None
    acknowledged_by: str | None = None
    escalated_to: tuple[str, ...] = ()
    obligations: tuple[str, ...] = ()
    handed_to: str | None = None
    override: Override | None = None
    steps: tuple[Step, ...] = ()
    shadowed: tuple[Shadowed, ...] = ()

    @property
    def waiting(self) -> tuple[Approval, ...]:
        """What nobody has answered yet; after the end only whether to take back what was kept for now."""
        left = (approval for approval in self.approvals.values() if approval.answer is None)
        return tuple(one for one in left if self.status not in ENDED or one.asks is Asks.REVERT)

    @property
    def acted(self) -> bool:
        """True once an intent was recorded: from then on a run cannot be superseded."""
        return bool(self.deeds)


def fold(events: Iterable[Event]) -> Incident:
    """The incident that these events, in order, tell of. Raises ``UndeclaredTransition``, ``ValueError`` on none."""
    incident: Incident | None = None
    for event in events:
        incident = apply(incident, event)
    if incident is None:
        raise ValueError("an incident has at least the event that opened it")
    return incident


def apply(incident: Incident | None, event: Event) -> Incident:
    """One step of the fold."""
    payload = event.payload
    if incident is None:
        if event.kind is not EventKind.OPENED:
            raise UndeclaredTransition(f"{event.kind} before {EventKind.OPENED}")
        return Incident(
            id=event.stream_id, tenant=event.tenant, title=payload["title"], severity=payload["severity"],
            service=payload.get("service"), runbook=payload.get("runbook"), opened_at=event.at, updated_at=event.at,
            seq=event.seq, firing=(payload["alert"],) if payload.get("alert") else (), last_alert_at=event.at,
        )  # fmt: skip
    status = next_status(incident.status, event.kind)
    if _asks_afterwards(incident, event):
        status = incident.status
    change: dict[str, Any] = {"status": status, "seq": event.seq, "updated_at": event.at}
    if status in ENDED and incident.status not in ENDED:
        change["ended_at"] = event.at
    change |= _CHANGES.get(event.kind, _nothing)(incident, event)
    return incident.model_copy(update=change)


def _asks_afterwards(incident: Incident, event: Event) -> bool:
    """What is asked about a change that was kept, and its answer, say nothing about the incident."""
    known = incident.approvals.get(event.payload.get("approval", ""))
    about = event.payload.get("asks") or (known.asks if known else None)
    return event.kind in (EventKind.APPROVAL_REQUESTED, EventKind.APPROVAL_ANSWERED) and about == Asks.REVERT


def _nothing(incident: Incident, event: Event) -> dict[str, Any]:
    return {}


def _joined(incident: Incident, event: Event) -> dict[str, Any]:
    alert = event.payload["alert"]
    return {
        "severity": min(incident.severity, event.payload.get("severity") or incident.severity),  # P1 is the worst
        "last_alert_at": event.at,
        "firing": (*(known for known in incident.firing if known != alert), alert),
        "resolved_alerts": tuple(known for known in incident.resolved_alerts if known != alert),
    }


def _alert_resolved(incident: Incident, event: Event) -> dict[str, Any]:
    alert = event.payload["alert"]
    return {
        "firing": tuple(known for known in incident.firing if known != alert),
        "resolved_alerts": (*(known for known in incident.resolved_alerts if known != alert), alert),
    }


def _left(incident: Incident, event: Event) -> dict[str, Any]:
    alert = event.payload["alert"]
    return {
        "firing": tuple(known for known in incident.firing if known != alert),
        "resolved_alerts": tuple(known for known in incident.resolved_alerts if known != alert),
        "cause": None if incident.cause == alert else incident.cause,
    }


def _reopened(incident: Incident, event: Event) -> dict[str, Any]:
    """Whoever had heard of it has heard that it was over, and an override was for what was then. Who had taken it has
    it still."""
    return {
        "reason": event.payload["reason"], "ended_at": None, "acknowledged_by": None, "override": None,
        "reopened": incident.reopened + 1,
    }  # fmt: skip


def _run_begun(incident: Incident, event: Event) -> dict[str, Any]:
    """Its number is the incident's from when it waits for its turn."""
    payload = event.payload
    return {
        "run": payload["number"], "plan": payload["plan"], "runbook": payload.get("runbook") or incident.runbook,
        "outcome": None, "verdict": None, "acknowledged_by": incident.assignee,
        "queued": payload["reason"] if event.kind is EventKind.RUN_QUEUED else "",
    }  # fmt: skip


def _run_ended(incident: Incident, event: Event) -> dict[str, Any]:
    reason = event.payload.get("reason") or incident.reason
    return {"outcome": event.payload["outcome"], "reason": reason, "queued": ""}


def _checked(incident: Incident, event: Event) -> dict[str, Any]:
    finding = event.payload["finding"]
    return {"findings": {**incident.findings, finding["check"]: finding}}


def _requested(incident: Incident, event: Event) -> dict[str, Any]:
    approval = Approval.model_validate({**event.payload, "node": event.payload["node"]})
    return {"approvals": {**incident.approvals, approval.approval: approval}}


def _answered(incident: Incident, event: Event) -> dict[str, Any]:
    known = incident.approvals.get(event.payload["approval"])
    if known is None:
        return {}
    answer, by = event.payload["answer"], event.payload.get("by")
    agreed = (*known.agreed, by) if answer == "approved" and by else known.agreed
    answered = known.model_copy(update={"answer": answer, "by": by, "agreed": agreed})
    return {"approvals": {**incident.approvals, known.approval: answered}}


def _noted(incident: Incident, event: Event) -> dict[str, Any]:
    """A note about an approval is one yes of several."""
    known = incident.approvals.get(event.payload.get("approval", ""))
    if known is None:
        return {}
    agreed = known.model_copy(update={"agreed": (*known.agreed, event.payload["by"])})
    return {"approvals": {**incident.approvals, known.approval: agreed}}


def _refused(incident: Incident, event: Event) -> dict[str, Any]:
    return {"refusals": (*incident.refusals, event.payload)}


def _intended(incident: Incident, event: Event) -> dict[str, Any]:
    deed = Deed.model_validate({**event.payload, "at": event.at})
    return {"deeds": {**incident.deeds, deed.key: deed}}


def _taken(incident: Incident, event: Event) -> dict[str, Any]:
    """Whoever has it answers for the page too: of a shift's end nothing stays with the one who went home."""
    by = event.payload["by"]
    return {"assignee": by, "handed_to": None, "acknowledged_by": by}


def _acknowledged(incident: Incident, event: Event) -> dict[str, Any]:
    by = event.payload["by"]
    accepted = incident.handed_to is not None and same_person(by, incident.handed_to)
    return {"acknowledged_by": by, "handed_to": None if accepted else incident.handed_to}


def _finished(incident: Incident, event: Event) -> dict[str, Any]:
    key = event.payload.get("key") or event.node
    known = incident.deeds.get(key) or Deed(key=key, action=event.payload["action"], at=event.at)
    told = known.model_copy(update={"result": event.payload["result"], "summary": event.payload["summary"]})
    return {"deeds": {**incident.deeds, key: told}}


def _escalated(incident: Incident, event: Event) -> dict[str, Any]:
    """A page that was on its way as it ended says nothing about why it ended."""
    told = {"escalated_to": (*incident.escalated_to, *event.payload.get("to", ()))}
    return told if incident.status in ENDED else {**told, "reason": event.payload["reason"]}


def _merged(event: Event) -> str:
    by, why = event.payload.get("by") or "quell", event.payload.get("reason")
    return f"merged into incident {event.payload['into']} by {by}" + (f": {why}" if why else "")


_CHANGES: dict[EventKind, Callable[[Incident, Event], dict[str, Any]]] = {
    _K.ALERT_JOINED: _joined,
    _K.ALERT_RESOLVED: _alert_resolved,
    _K.ALERT_LEFT: _left,
    _K.CAUSE_FOUND: lambda incident, event: {"cause": event.payload["alert"], "service": event.payload["service"]},
    _K.MERGED: lambda incident, event: {"merged_into": event.payload["into"], "reason": _merged(event)},
    _K.RUN_QUEUED: _run_begun,
    _K.RUN_STARTED: _run_begun,
    _K.RUN_ENDED: _run_ended,
    _K.CHECK_FINISHED: _checked,
    _K.DECIDED: lambda incident, event: {"decision": event.payload},
    _K.APPROVAL_REQUESTED: _requested,
    _K.APPROVAL_ANSWERED: _answered,
    _K.NOTED: _noted,
    _K.ACTION_REFUSED: _refused,
    _K.ACTION_INTENDED: _intended,
    _K.ACTION_FINISHED: _finished,
    _K.VERIFICATION_FINISHED: lambda incident, event: {"verdict": event.payload["verdict"]},
    _K.ESCALATED: _escalated,
    _K.ACKNOWLEDGED: _acknowledged,
    _K.UNACKNOWLEDGED: lambda incident, event: {"acknowledged_by": None},
    _K.TAKEN: _taken,
    _K.HANDED_OVER: lambda incident, event: {"handed_to": event.payload["to"]},
    _K.RETURNED: lambda incident, event: {"assignee": None, "handed_to": None, "acknowledged_by": None},
    _K.OVERRIDDEN: lambda incident, event: {"override": Override.model_validate(event.payload)},
    _K.STEP_RECORDED: lambda incident, event: {
        "steps": (*incident.steps, Step.model_validate({**event.payload, "at": event.at}))
    },
    _K.ACTION_SHADOWED: lambda incident, event: {
        "shadowed": (*incident.shadowed, Shadowed.model_validate({**event.payload, "at": event.at}))
    },
    _K.MITIGATED: lambda incident, event: {"reason": event.payload["reason"]},
    _K.RESOLVED: lambda incident, event: {"reason": event.payload["reason"]},
    _K.REOPENED: _reopened,
    _K.OBLIGATION_MADE: lambda incident, event: {
        "obligations": (*incident.obligations, event.payload["obligation"])
    },
    _K.OBLIGATION_ENDED: lambda incident, event: {
        "obligations": tuple(one for one in incident.obligations if one != event.payload["obligation"])
    },
}  # fmt: skip

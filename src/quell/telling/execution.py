"""An incident's execution as a report: numbered steps with what was done, what came of it and how long it took. Pure.

Made from the events alone, so that it says the same today and in a year. Never does: fetch, print.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from quell.incident.event import Event, EventKind
from quell.incident.incident import fold
from quell.telling.lines import clean
from quell.telling.rows import Known, rows_of

_BEGINS = {
    EventKind.ACTION_FINISHED: EventKind.ACTION_INTENDED,
    EventKind.VERIFICATION_FINISHED: EventKind.VERIFICATION_STARTED,
    EventKind.APPROVAL_ANSWERED: EventKind.APPROVAL_REQUESTED,
    EventKind.RUN_ENDED: EventKind.RUN_STARTED,
}
"""What an event ends, where it does not say itself how long it took."""
_BY_PEOPLE = frozenset({
    EventKind.APPROVAL_ANSWERED, EventKind.TAKEN, EventKind.RETURNED, EventKind.HANDED_OVER, EventKind.STEP_RECORDED,
    EventKind.OVERRIDDEN,
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Step:
    """``duration_ms`` is None for what takes no time of its own, such as a note."""

    step: int
    at: datetime
    actor: str
    action: str
    detail: str
    duration_ms: float | None
    event: str
    hash: str


def execution(events: Sequence[Event]) -> dict[str, Any]:
    """``events``: of one incident, all of them, in order; payloads that were erased are told as erased."""
    steps, known, began = list[Step](), Known(), dict[tuple[EventKind, str], datetime]()
    for number, event in enumerate(events, 1):
        action, detail = _told(event, known)
        steps.append(
            Step(number, event.at, event.actor, action, detail, _duration(event, began), event.kind.value, event.hash)
        )
        began[event.kind, _which(event)] = event.at
    return {
        "schema": "quell.execution/1", "execution": events[0].stream_id, "at": events[0].at,
        "steps": [asdict(step) for step in steps], "summary": _summary(events),
    }  # fmt: skip


def _told(event: Event, known: Known) -> tuple[str, str]:
    if not event.payload:
        return event.kind.value, "erased"
    rows = rows_of(event, known)
    if not rows:
        return event.kind.value, ""
    row = rows[0]
    return clean(row.label) or event.kind.value, clean(row.text)


def _which(event: Event) -> str:
    """What ties an end to its beginning: the action's key, the approval, the run; verification has one at a time."""
    told = event.payload
    return str(told.get("key") or told.get("approval") or told.get("number") or "")


def _duration(event: Event, began: dict[tuple[EventKind, str], datetime]) -> float | None:
    said = event.payload.get("duration_ms")
    if said is None and isinstance(finding := event.payload.get("finding"), dict):
        said = finding.get("duration_ms")
    if isinstance(said, int | float):
        return round(float(said), 3)
    start = began.get((_BEGINS[event.kind], _which(event))) if event.kind in _BEGINS else None
    return _ms(start, event.at) if start is not None else None


def _ms(start: datetime, end: datetime) -> float:
    return round((end - start).total_seconds() * 1000, 3)


def _summary(events: Sequence[Event]) -> dict[str, Any]:
    resolved = next((event.at for event in events if event.kind is EventKind.RESOLVED), None)
    kinds = [event.kind for event in events]
    told: dict[str, Any] = {
        "total_ms": _ms(events[0].at, events[-1].at),
        "to_resolved_ms": _ms(events[0].at, resolved) if resolved else None,
        "checks": kinds.count(EventKind.CHECK_FINISHED),
        "actions": kinds.count(EventKind.ACTION_FINISHED),
        "refused": kinds.count(EventKind.ACTION_REFUSED),
        "targets": sorted({str(name) for event in events for name in event.payload.get("targets") or ()
                           if event.kind is EventKind.ACTION_INTENDED}),
        "human_intervention": any(kind in _BY_PEOPLE for kind in kinds),
        "erased": sum(not event.payload for event in events),
    }  # fmt: skip
    if told["erased"]:
        return {"status": None, **told}
    incident = fold(events)
    return {
        "status": incident.status.value, "outcome": incident.outcome, "reason": incident.reason,
        "title": incident.title, "severity": incident.severity, "service": incident.service,
        "runbook": incident.runbook, "plan": incident.plan, **told,
    }  # fmt: skip

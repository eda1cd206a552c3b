"""A run as one document for machines, made from its events alone. Pure. Never does: fetch, print."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from quell.incident.event import Event, EventKind
from quell.incident.incident import fold

_PHASES = {
    "diagnose": (EventKind.RUN_STARTED, EventKind.CHECK_FINISHED),
    "decide": (EventKind.CHECK_FINISHED, EventKind.DECIDED),
    "act": (EventKind.DECIDED, EventKind.ACTION_FINISHED),
    "verify": (EventKind.VERIFICATION_STARTED, EventKind.VERIFICATION_FINISHED),
}
"""Each phase runs from the first event of one kind to the last of another; ``decide`` is the first decision's own."""


def report(events: Sequence[Event]) -> dict[str, Any]:
    """Incident, outcome and reason; findings, decisions, approvals, actions, verification; the timeline; seconds."""
    incident = fold(events)
    return {
        "incident": incident.id, "runbook": incident.runbook, "plan": incident.plan, "title": incident.title,
        "severity": incident.severity, "service": incident.service, "status": incident.status.value,
        "outcome": incident.outcome, "reason": incident.reason,
        "findings": list(incident.findings.values()),
        "decisions": _payloads(events, EventKind.DECIDED),
        "approvals": [one.model_dump(mode="json") for one in incident.approvals.values()],
        "actions": _actions(events),
        "verification": _payloads(events, EventKind.VERIFICATION_FINISHED),
        "escalated_to": list(dict.fromkeys(incident.escalated_to)),
        "timeline": [event.model_dump(mode="json", exclude={"tenant", "stream", "stream_id"}) for event in events],
        "durations": durations(events),
    }  # fmt: skip


def durations(events: Sequence[Event]) -> dict[str, float | None]:
    """Seconds of each phase of the first run and of the whole; None for a phase that did not happen."""
    seconds: dict[str, float | None] = {"total_s": _between(events[0].at, events[-1].at)}
    for name, (begins, ends) in _PHASES.items():
        first_decision = next((event.at for event in events if event.kind is EventKind.DECIDED), None)
        ending = [event.at for event in events if event.kind is ends]
        if name in ("diagnose", "decide") and first_decision is not None:
            ending = [at for at in ending if at <= first_decision]
        starting = [event.at for event in events if event.kind is begins]
        if name == "decide":
            starting = [at for at in starting if first_decision is not None and at <= first_decision][-1:]
        seconds[f"{name}_s"] = _between(starting[0], ending[-1]) if starting and ending else None
    return seconds


def _between(start: datetime, end: datetime) -> float:
    return round((end - start).total_seconds(), 6)


def _payloads(events: Iterable[Event], kind: EventKind) -> list[dict[str, Any]]:
    return [{**event.payload, "at": event.at.isoformat()} for event in events if event.kind is kind]


def _actions(events: Sequence[Event]) -> list[dict[str, Any]]:
    """Each intent joined with its outcome; a refusal stands as an action with the result ``refused``."""
    actions: dict[str, dict[str, Any]] = {}
    for event in events:
        told = event.payload
        if event.kind is EventKind.ACTION_INTENDED:
            actions[told["key"]] = {**told, "result": None, "began_at": event.at.isoformat()}
        elif event.kind is EventKind.ACTION_FINISHED:
            key = told.get("key") or event.node
            actions[key] = {**actions.get(key, {}), **told, "ended_at": event.at.isoformat()}
        elif event.kind is EventKind.ACTION_REFUSED:
            actions[event.node] = {**told, "key": event.node, "result": "refused", "ended_at": event.at.isoformat()}
    return list(actions.values())


def exit_code(outcome: str | None) -> int:
    """0 when it went well, 2 when a person is needed or it is not over."""
    return 0 if outcome in ("healthy", "resolved", "dry_run") else 2

"""How far a Plan has come: one word per node of its drawing, from the incident's log.

Pure. Never does: draw.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from quell.incident.event import Event, EventKind
from quell.incident.incident import ENDED, Incident, Status
from quell.runbook.plan import DECIDE, Plan
from quell.web.words import node_of

_K = EventKind
_ANSWERS = {"approved": "done", "done": "done", "denied": "refused", "failed": "failed", "expired": "refused"}


def states_of(incident: Incident, plan: Plan, events: Sequence[Event]) -> dict[str, str]:
    """Node id (and ``start``, ``verify``, ``resolved``, ``escalated``) → state. Later events win over earlier ones."""
    if incident.queued:
        return {"start": "waiting"}
    states = {"start": "done"} if incident.run else {}
    if incident.run and incident.status not in ENDED and incident.decision is None:
        states |= {check.id: "running" for check in plan.checks}
    for event in events:
        states.update(_said(event))
    if incident.status is Status.RESOLVED:
        states["resolved"] = "resolved"
    if incident.status is Status.ESCALATED:
        states["escalated"] = "escalated"
    if incident.status in ENDED:
        states = {node: state for node, state in states.items() if state not in ("running", "waiting")}
    return states


def _said(event: Event) -> Iterator[tuple[str, str]]:
    payload = event.payload
    match event.kind:
        case _K.CHECK_FINISHED:
            yield payload["finding"]["check"], payload["finding"]["status"]
        case _K.DECIDED:
            yield DECIDE, "done" if payload["chosen"] else "unknown"
        case _K.APPROVAL_REQUESTED:
            yield node_of(payload["node"]), "waiting"
        case _K.APPROVAL_ANSWERED:
            yield node_of(payload.get("node", event.node)), _ANSWERS.get(payload["answer"], "skipped")
        case _K.ACTION_INTENDED:
            yield node_of(event.node), "running"
        case _K.ACTION_FINISHED:
            yield node_of(event.node), payload["result"]
        case _K.ACTION_REFUSED:
            yield node_of(event.node), "refused"
        case _K.NOTED if event.node:
            yield node_of(event.node), "done"
        case _K.VERIFICATION_STARTED:
            yield "verify", "running"
        case _K.VERIFICATION_FINISHED:
            yield "verify", payload["verdict"]


def chosen_of(incident: Incident) -> tuple[str, ...]:
    """The decisions that are carried out now, or were last."""
    return tuple(incident.decision["chosen"]) if incident.decision else ()

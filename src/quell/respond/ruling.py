"""What the guard is asked about an action, with what the database knows of the moment; and how a no is told.

Never does: judge (the guard does), act.
"""

from __future__ import annotations

from typing import Any

from quell.errors import NotFound, Permanent, QuellError, Transient
from quell.incident.action import ActionOutcome, Preview, Result
from quell.incident.event import EventKind, NewEvent
from quell.incident.incident import ENDED
from quell.ports import spellings
from quell.respond import approve, permit
from quell.respond.guard import Question, Ruling
from quell.respond.means import Means
from quell.respond.permit import Around
from quell.respond.prepared import Prepared, Request


def question(
    request: Request, prepared: Prepared, preview: Preview, around: Around, *, approved: bool = False
) -> Question:
    incident, context = around.incident, request.context
    gone = context.alert is not None and not incident.firing and not incident.deeds
    return Question(
        action=prepared.kind.name, risk=prepared.kind.risk, params=prepared.params.model_dump(mode="json"),
        targets=preview.targets, magnitude=preview.magnitude, facts=preview.facts,
        # An incident whose own service is not known acts on none, whatever the runbook names.
        service=context.service and prepared.acts_on,
        asks_approval=request.act.requires_approval, approved=approved,
        guard=request.act.guard.spelled(spellings(prepared.kind.params)),
        mode=context.mode, taken_by=None if request.late else incident.assignee, trigger_gone=gone,
        undoing=request.undoes is not None, own_undo=request.is_own_undo,
        ended=incident.status in ENDED and not request.late,
        superseded_by=incident.run if incident.run > context.run and not request.late else None,
        paused=around.pause, now=around.now,
        overridden=around.overridden,
        tenant=context.tenant, environment=prepared.environment, owner=prepared.owner, owned_by=prepared.owned_by,
        radius=preview.radius, remedied=around.remedied, commands=prepared.commands,
    )  # fmt: skip


def action_hash(prepared: Prepared, preview: Preview) -> str:
    """What a yes is bound to."""
    return approve.action_hash(prepared.kind.name, prepared.params.model_dump(mode="json"), preview.targets)


def outcome_of(request: Request, result: Result, summary: str, **more: Any) -> ActionOutcome:
    return ActionOutcome(
        node=request.act.id, target=request.target, action=request.act.call.type, result=result,
        summary=summary[:2000], key=request.key, **more,
    )  # fmt: skip


async def refuse(means: Means, request: Request, ruling: Ruling, preview: Preview | None = None) -> dict[str, Any]:
    """Into the log, and the outcome as JSON. What was leased is given back."""
    payload = {
        "action": request.act.call.type, "rule": ruling.rule, "reason": ruling.reason, "value": ruling.value,
        "limit": ruling.limit, "target": request.target, "call": preview.call if preview else "", "node": request.key,
    }  # fmt: skip
    told = NewEvent(kind=EventKind.ACTION_REFUSED, payload=payload, node=request.key, key=f"{request.key}/refused")
    await means.transact(request.context, lambda connection: permit.release(connection, request), told)
    return outcome_of(request, Result.REFUSED, ruling.reason, rule=ruling.rule).model_dump(mode="json")


def cannot_prepare(error: Exception) -> Ruling:
    if isinstance(error, NotFound):
        return Ruling("unknown_action", str(error))
    if isinstance(error, Transient | Permanent):
        return Ruling("dry_run", f"the dry run failed: {error}", value=error.error_class)
    if isinstance(error, QuellError):
        return Ruling("parameters", str(error))
    return Ruling("internal", f"{type(error).__name__}: {error}")

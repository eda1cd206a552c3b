"""What can happen to an incident, and the shape of each event's payload.

Events are the truth; everything else is folded from them. Never does: store, order or number events (the store does).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

EVENT_SCHEMA = 2
"""2: the hash covers environment, region and idempotency key as well."""


class Stream(StrEnum):
    """The three kinds of streams. ``system`` holds what belongs to no incident: dropped alerts, tokens, settings."""

    INCIDENT = "incident"
    ALERT = "alert"
    SYSTEM = "system"


class EventKind(StrEnum):
    OPENED = "incident.opened"
    ALERT_JOINED = "alert.joined"
    ALERT_RESOLVED = "alert.resolved"
    ALERT_LEFT = "alert.left"
    CAUSE_FOUND = "cause.found"
    MERGED = "incident.merged"
    RUN_QUEUED = "run.queued"
    RUN_STARTED = "run.started"
    RUN_ENDED = "run.ended"
    CHECK_FINISHED = "check.finished"
    DECIDED = "decision.made"
    APPROVAL_REQUESTED = "approval.requested"
    APPROVAL_ANSWERED = "approval.answered"
    ACTION_SHADOWED = "action.shadowed"
    ACTION_REFUSED = "action.refused"
    ACTION_INTENDED = "action.intended"
    ACTION_FINISHED = "action.finished"
    VERIFICATION_STARTED = "verification.started"
    VERIFICATION_FINISHED = "verification.finished"
    NOTIFIED = "notified"
    ESCALATED = "incident.escalated"
    ACKNOWLEDGED = "incident.acknowledged"
    UNACKNOWLEDGED = "incident.unacknowledged"
    TAKEN = "incident.taken"
    HANDED_OVER = "incident.handed_over"
    RETURNED = "incident.returned"
    OVERRIDDEN = "guardrails.overridden"
    STEP_RECORDED = "step.recorded"
    SHADOW_COMPARED = "shadow.compared"
    MITIGATED = "incident.mitigated"
    RESOLVED = "incident.resolved"
    REOPENED = "incident.reopened"
    CLOSED = "incident.closed"
    OBLIGATION_MADE = "obligation.made"
    OBLIGATION_ENDED = "obligation.ended"
    NOTED = "note.added"
    PRUNED = "incident.pruned"
    # Alert and system streams.
    ALERT_RECEIVED = "alert.received"
    ALERT_QUARANTINED = "alert.quarantined"
    SILENCE_MADE = "silence.made"
    SILENCE_ENDED = "silence.ended"
    ALERT_ROUTED = "alert.routed"
    RUNBOOKS_LOADED = "runbooks.loaded"
    SERVER_STARTED = "server.started"
    PAUSED = "actions.paused"
    RESUMED = "actions.resumed"
    BREAKER_RESET = "breaker.reset"
    PAST_PRUNED = "past.pruned"
    TOKEN_CREATED = "token.created"  # noqa: S105
    TOKEN_REVOKED = "token.revoked"  # noqa: S105


@dataclass(frozen=True, slots=True)
class Shape:
    """The keys of a payload. A key that is in neither is refused, so that the log keeps a documented schema."""

    needs: frozenset[str]
    may: frozenset[str]


def _shape(needs: str, may: str = "") -> Shape:
    return Shape(frozenset(needs.split()), frozenset(may.split()))


SHAPES: dict[EventKind, Shape] = {
    EventKind.OPENED: _shape("title severity", "service service_why runbook runbook_why alert name source context"),
    EventKind.ALERT_JOINED: _shape("alert", "name labels why severity"),
    EventKind.ALERT_RESOLVED: _shape("alert", "name labels why remaining"),
    EventKind.ALERT_LEFT: _shape("alert to", "name by why"),
    EventKind.CAUSE_FOUND: _shape("alert service why", "name runbook"),
    EventKind.MERGED: _shape("into", "by reason"),
    EventKind.RUN_QUEUED: _shape("number plan reason", "runbook mode"),
    EventKind.RUN_STARTED: _shape("number plan reason", "runbook mode predecessor"),
    EventKind.RUN_ENDED: _shape("number outcome", "reason"),
    EventKind.CHECK_FINISHED: _shape("finding", "visit"),
    EventKind.DECIDED: _shape("recommended chosen", "tried explanations reason visit"),
    EventKind.APPROVAL_REQUESTED: _shape("approval node call targets", "action hash before after why undo expires_at "
        "on_no_answer asks people from target risk instructions history impact approvers not_requester from_people"),
    EventKind.APPROVAL_ANSWERED: _shape("approval answer", "by reason node"),
    EventKind.ACTION_SHADOWED: _shape("action call targets", "before after magnitude node target rule reason ask"),
    EventKind.ACTION_REFUSED: _shape("action rule reason", "value limit target call node"),
    EventKind.ACTION_INTENDED: _shape("action call key", "targets before after magnitude permit node undo"),
    EventKind.ACTION_FINISHED: _shape("action result summary", "key target output undo duration_ms error_class call "
        "node undone_by postcondition"),
    EventKind.VERIFICATION_STARTED: _shape("signals", "stable_for_s within_s earliest_s baseline visit"),
    EventKind.VERIFICATION_FINISHED: _shape("verdict", "reason signals duration_ms visit next"),
    EventKind.NOTIFIED: _shape("to kind", "delivered detail level"),
    EventKind.ESCALATED: _shape("reason", "to level"),
    EventKind.ACKNOWLEDGED: _shape("by"),
    EventKind.UNACKNOWLEDGED: _shape("by reason"),
    EventKind.TAKEN: _shape("by", "reason"),
    EventKind.HANDED_OVER: _shape("by to", "note tried pending left"),
    EventKind.RETURNED: _shape("by", "reason"),
    EventKind.OVERRIDDEN: _shape("by reason until"),
    EventKind.STEP_RECORDED: _shape("step result by", "note name"),
    EventKind.SHADOW_COMPARED: _shape("number verdict would did", "reason after_s"),
    EventKind.MITIGATED: _shape("reason"),
    EventKind.RESOLVED: _shape("reason", "by verdict"),
    EventKind.REOPENED: _shape("reason", "by alert"),
    EventKind.CLOSED: _shape("reason", "by"),
    EventKind.OBLIGATION_MADE: _shape("obligation what", "owner revert_at ask"),
    EventKind.OBLIGATION_ENDED: _shape("obligation", "how by"),
    EventKind.NOTED: _shape("text", "by approval"),
    EventKind.PRUNED: _shape("by before"),
    EventKind.ALERT_RECEIVED: _shape("alert", "signature"),
    EventKind.ALERT_QUARANTINED: _shape("source reason", "fragment"),
    EventKind.SILENCE_MADE: _shape("silence matchers starts_at ends_at by comment", "replaces"),
    EventKind.SILENCE_ENDED: _shape("silence by", "matchers"),
    EventKind.ALERT_ROUTED: _shape("outcome reason", "incident runbook steps dedup_key group_key service "
        "severity"),
    EventKind.RUNBOOKS_LOADED: _shape("loaded broken"),
    EventKind.SERVER_STARTED: _shape("version", "mode database"),
    EventKind.PAUSED: _shape("pause scope until by reason", "name"),
    EventKind.RESUMED: _shape("pause scope by", "name reason"),
    EventKind.BREAKER_RESET: _shape("service by reason"),
    EventKind.PAST_PRUNED: _shape("by before erased"),
    EventKind.TOKEN_CREATED: _shape("token name role by", "tenant proxy expires_at"),
    EventKind.TOKEN_REVOKED: _shape("token name by", "reason"),
}  # fmt: skip


class NewEvent(BaseModel):
    """An event that has not been stored yet.

    ``key``: idempotency key, so that a replay appends once. ``node``: ``<run>/<node>/<visit>/<target>`` or empty.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: EventKind
    payload: dict[str, Any] = Field(default_factory=dict)
    actor: str = "quell"
    node: str = ""
    key: str = ""

    @model_validator(mode="after")
    def _fits(self) -> NewEvent:
        shape, keys = SHAPES[self.kind], set(self.payload)
        if missing := shape.needs - keys:
            raise ValueError(f"{self.kind}: payload lacks {sorted(missing)}")
        if strange := keys - shape.needs - shape.may:
            raise ValueError(f"{self.kind}: payload has unknown {sorted(strange)}")
        return self


class Event(BaseModel):
    """A stored event. ``at`` is UTC with microseconds; ``seq`` starts at 1 in each stream."""

    model_config = ConfigDict(frozen=True)

    id: int = 0
    tenant: str
    stream: Stream
    stream_id: str
    seq: int
    at: datetime
    kind: EventKind
    actor: str
    node: str = ""
    payload: dict[str, Any]
    hash: str = ""
    schema_version: int = EVENT_SCHEMA

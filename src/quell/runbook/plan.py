"""The one representation: what every dialect is lowered to, and all that the interpreter knows.

A Plan is frozen data, acyclic, stored by content hash and given to a run as its argument: editing a file never
changes an incident in flight. Durations are seconds. Conditions are text; ``scope`` gives them their types.
Never does: know a dialect, a plug-in or an incident.

Reading a Plan: checks feed ``decide``; a decision is a set of edges out of ``decide``, one per act it starts with, all
bearing the decision's id; edges between acts say in which order, and may belong to one decision or (None) to all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, get_args

import rfc8785
from pydantic import BaseModel, ConfigDict, Field

PLAN_SCHEMA = 1
DECIDE = "decide"
"""The node where the checks meet and the decisions start."""

FactSpecs = dict[str, Any]


class Word(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Mode = Literal["dry_run", "shadow", "approve", "auto"]
"""What a run may do, the strictest first. ``dry_run`` says what it would do; ``shadow`` also compares it, afterwards,
with what people did; ``approve`` asks before every action."""


_STRICTNESS = {mode: number for number, mode in enumerate(get_args(Mode))}
HANDS_OFF = frozenset({"dry_run", "shadow"})
"""Modes in which nothing is changed."""


def strictest(*modes: str | None) -> str:
    """Of several modes the one that lets least happen; what is not said lets everything."""
    return min((mode for mode in modes if mode), key=_STRICTNESS.__getitem__, default="auto")


def _later(default: Any) -> Any:
    """A field that the first release did not have: left out where it says nothing, so that hashes of Plans that do not
    use it stay, and processes of the version before read them."""
    return Field(default=default, exclude_if=lambda value: value == default)


class Origin(Word):
    """Where something was written. Kept outside the hash."""

    file: str = ""
    line: int = 0
    column: int = 0
    path: str = ""


class Call(Word):
    """A plug-in by type, with its parameters as written: templates are filled when the node runs."""

    type: str
    config: dict[str, Any] = Field(default_factory=dict)


class Interpret(Word):
    """Conditions tried critical → warning → healthy; none true, or a needed fact missing, is ``no_data``."""

    healthy: str | None = None
    warning: str | None = None
    critical: str | None = None


class Retry(Word):
    attempts: int = 1
    backoff_s: float = 1.0


class ForEach(Word):
    """Run the node once per value. ``values``: variable name → template giving a list, or a list."""

    values: dict[str, Any]
    batch: int = 1
    stop_on: tuple[str, ...] = ("failed", "worse")
    quorum: int | None = None


class Approval(Word):
    """Who may say yes, how many must, how long they have, and what silence does (``page`` or ``deny``).

    ``ask``: whom to ask; ``approvers``: groups, schedules or people of whom alone a yes counts. ``not_requester``:
    whoever started the run, or gave the incident back, may not.
    """

    ask: str = "oncall"
    people: int = 1
    expires_s: float = 600.0
    on_no_answer: Literal["page", "deny"] = "page"
    approvers: tuple[str, ...] = _later(())
    not_requester: bool = _later(False)


class Guard(Word):
    """A runbook's own limits; they only tighten the configuration's. ``allow``: parameter → values it may have."""

    allow: dict[str, list[Any]] = Field(default_factory=dict)
    limits: dict[str, Any] = Field(default_factory=dict)
    rate_count: int | None = None
    rate_per_s: float | None = None

    def spelled(self, names: Mapping[str, str]) -> Guard:
        """The same guard with each parameter under the name that the action itself has for it."""
        return self.model_copy(
            update={
                "allow": {names.get(name, name): values for name, values in self.allow.items()},
                "limits": {names.get(name, name): limit for name, limit in self.limits.items()},
            }
        )


class Postcondition(Word):
    condition: str
    within_s: float = 60.0


class Undo(Word):
    """What takes an action back, and on which verdicts. ``call`` None: the action type's own undo.

    ``never``: a point of no return, or an undo that would do harm (redeploying the suspect).
    """

    call: Call | None = None
    on: tuple[str, ...] = ("worse",)
    unless: str | None = None
    never: bool = False


class Revert(Word):
    """A change that is kept for now: when it must be taken back, and whom to ask."""

    after_s: float
    ask: str = "owner"


class _Node(Word):
    id: str
    name: str = ""
    description: str = ""
    timeout_s: float = 30.0
    retry: Retry = Retry()
    for_each: ForEach | None = None
    origin: Origin = Field(default=Origin(), exclude=True)


class Check(_Node):
    """Ask a system; read only."""

    kind: Literal["check"] = "check"
    call: Call
    interpret: Interpret = Interpret()
    facts: FactSpecs = Field(default_factory=dict)
    lag_s: float = 0.0


class Act(_Node):
    """Change a system, through the act frame."""

    kind: Literal["act"] = "act"
    call: Call
    requires_approval: bool = False
    approval: Approval = Approval()
    guard: Guard = Guard()
    capture: dict[str, str] = Field(default_factory=dict)
    precondition: str | None = None
    postcondition: Postcondition | None = None
    undo: Undo = Undo()
    revert: Revert | None = None
    on_unknown: Literal["ask", "stop"] = "ask"
    facts: FactSpecs = Field(default_factory=dict)


class Approve(_Node):
    """A human gate: a manual step to do, or a yes to give."""

    kind: Literal["approve"] = "approve"
    instructions: str = ""
    approval: Approval = Approval(expires_s=3600.0)


class Set(_Node):
    """Compute values. The node ``decide`` is one without values."""

    kind: Literal["set"] = "set"
    values: dict[str, Any] = Field(default_factory=dict)


class Wait(_Node):
    """Wait for a time to pass, or for a time of day (``runbook.window``); then everything is looked at anew."""

    kind: Literal["wait"] = "wait"
    seconds: float = 0.0
    window: str = ""


class Notify(_Node):
    """Tell somebody. With ``escalate`` a person takes over from here."""

    kind: Literal["notify"] = "notify"
    to: str = ""
    message: str = ""
    escalate: bool = False


class End(_Node):
    kind: Literal["end"] = "end"
    outcome: str = "done"


Node = Annotated[Check | Act | Approve | Set | Wait | Notify | End, Field(discriminator="kind")]


class Edge(Word):
    """``on``: which end of the source lets it pass. ``decision``: the decision it belongs to, None for all."""

    source: str
    target: str
    on: Literal["done", "failed", "skipped", "settled"] = "done"
    decision: str | None = None


class Decision(Word):
    """A condition and what to do when it holds. ``when`` None is ``otherwise``: it holds when none before did."""

    id: str
    when: str | None = None
    then: tuple[str, ...]
    description: str = ""
    reads: tuple[str, ...] = ()
    origin: Origin = Field(default=Origin(), exclude=True)


class Require(Word):
    """What must be true for a verdict to mean anything (enough traffic): a condition, or a check of its own.

    ``interpret`` says when the check is healthy; without it, when it gives a series: a PromQL comparison gives one when
    it holds, and nothing when it does not.
    """

    condition: str | None = None
    check: Call | None = None
    interpret: Interpret | None = None
    text: str = ""


Policy = Literal["resolve", "mitigate", "next", "diagnose", "page", "undo_and_page"]


class Verify(Word):
    """How to tell that it worked. ``earliest_s``: before that no verdict can be true (range + ``for`` + scrape)."""

    signals: tuple[str, ...] = ("trigger",)
    stable_for_s: float = 30.0
    within_s: float = 600.0
    every_s: float = 5.0
    earliest_s: float = 0.0
    require: Require | None = None
    on_recovered: Policy = "resolve"
    on_improved: Policy = "diagnose"
    on_unchanged: Policy = "next"
    on_worse: Policy = "undo_and_page"
    on_cannot_tell: Policy = "page"


class Escalation(Word):
    """``further``: who is told after the secondary, one after the other. ``repage_s``: how long an acknowledgement
    counts while nothing else is heard of whoever gave it; 0 is for good."""

    primary: str = ""
    secondary: str | None = None
    after_s: float = 1800.0
    immediately: bool = False
    further: tuple[str, ...] = _later(())
    repage_s: float = _later(1800.0)


class RateLimit(Word):
    """How many incidents of a runbook are worked on at once, for each tenant. ``max_concurrent`` None: any number.

    ``queue_size``: how many may wait for their turn. ``timeout_seconds``: how long one may wait, and how long it may
    then be worked on; waits for people do not count.
    """

    max_concurrent: int | None = None
    queue_size: int = 100
    timeout_seconds: float = 1800.0


class Trigger(Word):
    """When a runbook is meant. ``labels`` must all be equal; ``threshold`` belongs to ``metric_query``.

    ``matchers``: in Alertmanager's grammar, all must hold; of ``severity`` and ``source`` one must be the alert's.
    """

    type: Literal["alert", "manual", "metric_threshold"]
    alert_name: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    metric_query: str | None = None
    threshold: float | None = None
    operator: Literal[">", ">=", "<", "<="] = ">"
    for_s: float = 0.0
    matchers: tuple[str, ...] = _later(())
    severity: tuple[str, ...] = _later(())
    source: tuple[str, ...] = _later(())
    origin: Origin = Field(default=Origin(), exclude=True)

    @property
    def asks(self) -> tuple[Any, ...]:
        """What it asks of an alert: equal for triggers that fit the same alerts by the same words."""
        return (
            self.type, self.alert_name, tuple(sorted(self.labels.items())), tuple(sorted(self.matchers)),
            tuple(sorted(self.severity)), tuple(sorted(self.source)),
        )  # fmt: skip


class Plan(Word):
    """A runbook, compiled. ``priority``: of runbooks that an alert means equally, the highest goes first."""

    schema_version: int = PLAN_SCHEMA
    id: str
    name: str
    description: str = ""
    dialect: str = "runbook"
    severity: str = "P3"
    service: str | None = None
    owner: str = ""
    mode: Mode = "auto"
    decision_mode: Literal["first", "all"] = "first"
    max_rounds: int = 5
    triggers: tuple[Trigger, ...] = ()
    priority: int = _later(0)
    variables: dict[str, Any] = Field(default_factory=dict)
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...] = ()
    decisions: tuple[Decision, ...] = ()
    verify: Verify = Verify()
    escalation: Escalation = Escalation()
    rate_limit: RateLimit | None = _later(None)
    origin: Origin = Field(default=Origin(), exclude=True)

    @cached_property
    def hash(self) -> str:
        """SHA-256 over the canonical JSON (RFC 8785); where it was written does not count."""
        return hashlib.sha256(rfc8785.dumps(self.model_dump(mode="json"))).hexdigest()

    @cached_property
    def by_id(self) -> Mapping[str, Node]:
        return {node.id: node for node in self.nodes}

    @property
    def checks(self) -> Iterator[Check]:
        return (node for node in self.nodes if isinstance(node, Check))

    def incoming(self, node: str, decision: str | None) -> tuple[Edge, ...]:
        """The edges into a node that count while this decision is carried out."""
        return tuple(e for e in self.edges if e.target == node and e.decision in (None, decision))

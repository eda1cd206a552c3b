"""The native dialect as people write it: one model per section, snake_case or camelCase, unknown keys refused.

Never does: look at conditions or templates; those are text here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from pydantic.alias_generators import to_camel

from quell.runbook.plan import Policy
from quell.runbook.quantities import rate, seconds

IDENTIFIER = r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$"

Seconds = Annotated[float, BeforeValidator(seconds)]
Id = Annotated[str, Field(pattern=IDENTIFIER)]
Text = Annotated[str, Field(max_length=20_000)]


def _condition(value: Any) -> Any:
    """``true`` and ``false`` are conditions too."""
    return str(value).lower() if isinstance(value, bool) else value


Condition = Annotated[str, BeforeValidator(_condition), Field(max_length=4096)]


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True)


class Config(Section):
    """A plug-in's own parameters: whatever its ``Params`` accept."""

    model_config = ConfigDict(extra="allow", frozen=True)


class TriggerText(Section):
    type: Literal["alert", "manual", "metric_threshold"]
    """What starts it: an alert, a person, or a metric that Quell looks at itself."""
    alert_name: str | None = None
    """The alert's name."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels that the alert must have."""
    metric_query: str | None = None
    """PromQL for ``metric_threshold``."""
    threshold: float | None = None
    """What the metric is compared with."""
    operator: Literal[">", ">=", "<", "<="] = ">"
    """How it is compared."""
    for_: Annotated[Seconds, Field(alias="for")] = 0.0
    """How long the comparison must hold."""

    @model_validator(mode="after")
    def _complete(self) -> TriggerText:
        if self.type == "alert" and not self.alert_name and not self.labels:
            raise ValueError("an alert trigger needs alert_name or labels")
        if self.type == "metric_threshold" and (self.metric_query is None or self.threshold is None):
            raise ValueError("a metric_threshold trigger needs metric_query and threshold")
        return self


class InterpretText(Section):
    healthy: Condition | None = None
    """Tried last; when none holds there is no data."""
    warning: Condition | None = None
    """Tried second."""
    critical: Condition | None = None
    """Tried first."""


class RetryText(Section):
    attempts: Annotated[int, Field(ge=1, le=10)] = 2
    """How often in all; a bare number under ``retry`` counts the further ones."""
    backoff: Seconds = 1.0
    """The first pause; each next one is twice as long."""


def _retry(value: Any) -> Any:
    return {"attempts": value + 1} if isinstance(value, int) and not isinstance(value, bool) else value


class DiagnosticText(Section):
    id: Id
    """What conditions call it."""
    name: Text = ""
    """What people call it."""
    description: Text = ""
    """Why one looks there."""
    type: str
    """Which [check](checks.md)."""
    config: dict[str, Any] = Field(default_factory=dict)
    """Its parameters; templates are filled."""
    timeout: Annotated[Seconds, Field(gt=0, le=3600)] = 30.0
    """How long it may take; it never delays the others."""
    interpret: InterpretText = InterpretText()
    """What its facts mean."""
    needs: Annotated[list[str], BeforeValidator(_listed)] = Field(default_factory=list)
    """Checks that must be done before."""
    retry: Annotated[RetryText | None, BeforeValidator(_retry)] = None
    """For failures that may pass."""


class DecisionText(Section):
    condition: Condition | None = None
    """When it is recommended."""
    otherwise: bool = False
    """Recommended when none before it is."""
    then: Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)]
    """Remediations, in order."""
    description: Text = ""
    """Why, for the people who read the decision."""

    @model_validator(mode="after")
    def _either(self) -> DecisionText:
        if (self.condition is None) == (not self.otherwise):
            raise ValueError("give either condition or otherwise: true")
        return self


class ActionText(Section):
    type: str
    """Which [action](actions.md)."""
    config: dict[str, Any] = Field(default_factory=dict)
    """Its parameters; templates are filled."""


def _action(value: Any) -> Any:
    """``{restart_service: payment}`` is short for the type with its service."""
    if isinstance(value, dict) and len(value) == 1 and "type" not in value:
        name, given = next(iter(value.items()))
        return {"type": name, "config": given if isinstance(given, dict) else {"service": given}}
    return value


class ApprovalText(Section):
    from_: Annotated[str, Field(alias="from")] = "oncall"
    """Whom to ask: a notifier or an address (``#dba``), told beside the primary, or a name for the primary to know."""
    people: Annotated[int, Field(ge=1, le=10)] = 1
    """How many must agree."""
    expires: Annotated[Seconds, Field(gt=0)] = 600.0
    """How long they have."""
    on_no_answer: Literal["page", "deny"] = "page"
    """What silence means."""


class PostconditionText(Section):
    check: Condition
    """What must hold after the action."""
    within: Seconds = 60.0
    """How long it may take to hold."""


def _postcondition(value: Any) -> Any:
    return {"check": value} if isinstance(value, str) else value


class RevertText(Section):
    after: Seconds
    """When the change must be taken back."""
    ask: str = "owner"
    """Who is asked then, as for an approval's ``from``."""


class UndoText(Section):
    """``none``, or where to undo (``on``), unless what, and the call: a type, or other config of the same type."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str | None = None
    """Another action; by default the action's own undo."""
    config: dict[str, Any] = Field(default_factory=dict)
    """Its parameters."""
    on: Annotated[tuple[Literal["failed", "worse", "unchanged", "cannot_tell"], ...], BeforeValidator(_listed)] = (
        "worse",
    )
    """The outcomes after which it is undone."""
    unless: Condition | None = None
    """A condition under which it is not undone."""
    none: bool = False
    """Never undone, as ``undo: none``."""

    @field_validator("config", mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        return value or {}


def _undo(value: Any) -> Any:
    return {"none": True} if value in ("none", None, False) else value


class ForEachText(Section):
    """``for_each: {region: '${errors.critical.region}', batch: 1, stop_on: worse}``."""

    model_config = ConfigDict(extra="allow", frozen=True)

    batch: Annotated[int, Field(ge=1, le=1000)] = 1
    """How many at a time."""
    stop_on: Annotated[tuple[Literal["failed", "worse", "unchanged", "never"], ...], BeforeValidator(_listed)] = (
        "failed",
        "worse",
    )
    """The outcomes that stop the rest."""
    quorum: int | None = None
    """How many are enough."""

    @model_validator(mode="after")
    def _one(self) -> ForEachText:
        if len(self.model_extra or {}) != 1:
            raise ValueError("for_each names exactly one variable and its values")
        return self


class RemediationText(Section):
    id: Id
    """What decisions call it."""
    name: Text = ""
    """What people call it."""
    description: Text = ""
    """What it is for."""
    type: Literal["manual", "automated", "escalate"]
    """Done by Quell, done by a person, or handed to one."""
    action: Annotated[ActionText | None, BeforeValidator(_action)] = None
    """What an automated one does; ``{restart_service: payment}`` is short."""
    instructions: Text = ""
    """What a person has to do."""
    to: str = ""
    """Whom an escalation goes to; by default ``escalation.primary``."""
    requires_approval: bool = False
    """Somebody must agree before it runs."""
    approval: ApprovalText | None = None
    """Who, how many, and how long they have."""
    needs: Annotated[list[str], BeforeValidator(_listed)] = Field(default_factory=list)
    """Remediations that must have been done before."""
    for_each: ForEachText | None = None
    """Run it once for each value."""
    capture: dict[str, str] = Field(default_factory=dict)
    """Values to remember before acting: name and query; conditions and undo read them as ``captured.NAME``."""
    guard: dict[str, Any] = Field(default_factory=dict)
    """Limits that tighten the configuration's: parameter and its allowed values, ``rate: 2/10m``, or the
    action's own guard keys.
    """
    precondition: Condition | None = None
    """Must hold right before it acts."""
    postcondition: Annotated[PostconditionText | None, BeforeValidator(_postcondition)] = None
    """Must hold after it has acted."""
    undo: Annotated[UndoText, BeforeValidator(_undo)] = UndoText()
    """What takes it back, and when."""
    revert: RevertText | None = None
    """The change is kept for now, and somebody must take it back."""
    on_unknown: Literal["ask", "stop"] = "ask"
    """When nobody can tell whether it happened."""
    timeout: Annotated[Seconds, Field(gt=0, le=86400)] = 120.0
    """How long it may take."""
    retry: Annotated[RetryText | None, BeforeValidator(_retry)] = None
    """For failures that may pass."""

    @model_validator(mode="after")
    def _complete(self) -> RemediationText:
        if self.type == "automated" and self.action is None:
            raise ValueError("an automated remediation needs an action")
        if self.type != "automated" and self.action is not None:
            raise ValueError(f"a {self.type} remediation has no action; only an automated one has")
        return self

    @field_validator("guard")
    @classmethod
    def _rate(cls, value: dict[str, Any]) -> dict[str, Any]:
        if "rate" in value:
            rate(value["rate"])
        return value


class RequireText(Section):
    """A condition or PromQL alone, or a check: its type with its parameters, in ``config`` or beside it."""

    model_config = ConfigDict(extra="allow", frozen=True)

    condition: Text | None = None
    """A condition over the facts of checks, or a comparison in PromQL; it may stand alone, without the key."""
    type: str = "prometheus_query"
    """Which [check](checks.md)."""
    config: dict[str, Any] = Field(default_factory=dict)
    """Its parameters; templates are filled."""
    interpret: InterpretText | None = None
    """When the check is ``healthy``; without it, when its query gives a series."""

    @model_validator(mode="after")
    def _one(self) -> RequireText:
        if (self.condition is None) == (not self.config and not self.model_extra):
            raise ValueError("give either a condition or a check")
        return self


def _require(value: Any) -> Any:
    return {"condition": _condition(value)} if isinstance(value, str | bool) else value


class VerifyText(Section):
    signals: Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)] = Field(
        default_factory=lambda: ["trigger"]
    )
    """What must be well: ``trigger`` is the alert itself, other names are diagnostics."""
    stable_for: Seconds = 30.0
    """How long they must stay well."""
    within: Annotated[Seconds, Field(gt=0)] | None = None
    """When to stop waiting; by default as long as the signals need."""
    every: Annotated[Seconds, Field(gt=0)] | None = None
    """How often to look."""
    require: Annotated[RequireText | None, BeforeValidator(_require)] = None
    """What must be true for a verdict to mean anything, such as enough traffic: a condition, PromQL, or a check."""
    on_recovered: Literal["resolve", "mitigate"] = "resolve"
    """All signals well for ``stable_for``."""
    on_improved: Policy | Literal["keep_and_page", "keep_and_diagnose"] = "diagnose"
    """Better, and not well."""
    on_unchanged: Policy = "next"
    """As bad as before."""
    on_worse: Policy = "undo_and_page"
    """Worse than before."""
    on_cannot_tell: Policy = "page"
    """No data, or what is required does not hold."""


class EscalationText(Section):
    primary: str
    """Whom to page: a [notifier](notifiers.md) by name or prefix."""
    secondary: str | None = None
    """Whom to page when the first does not acknowledge."""
    escalate_after_minutes: Annotated[float, Field(gt=0, le=10_080)] = 30.0
    """How long the first has."""
    page: Literal["immediately"] | None = None
    """Page at once, while the diagnostics still run."""


class RunbookText(Section):
    id: Id
    """Its name everywhere; unique."""
    name: Text = ""
    """What people call it."""
    description: Text = ""
    """What it is for."""
    severity: Literal["P1", "P2", "P3", "P4"] = "P3"
    """Of the incidents it handles, when the alert says none."""
    service: str | None = None
    """The catalogue's service it is about."""
    owner: str = ""
    """The team that answers for it."""
    mode: Literal["auto", "approve", "dry_run"] = "auto"
    """``approve`` asks before every action, ``dry_run`` only says what it would do."""
    triggers: Annotated[list[TriggerText], Field(min_length=1)]
    """When it is meant."""
    variables: dict[str, Any] = Field(default_factory=dict)
    """Values for templates and conditions."""
    diagnostics: list[DiagnosticText] = Field(default_factory=list)
    """What to look at, in parallel."""
    decision_tree: list[DecisionText] = Field(default_factory=list)
    """What to do about it: every decision that holds is recommended, in this order."""
    decision_mode: Literal["first", "all"] = "first"
    """``first``: one after another, each verified, until recovered; ``all``: all, then verify."""
    max_rounds: Annotated[int, Field(ge=1, le=20)] = 5
    """How often it may decide again."""
    remediations: list[RemediationText] = Field(default_factory=list)
    """What can be done."""
    verify: VerifyText | None = None
    """How to tell that it worked."""
    escalation: EscalationText | None = None
    """Who is told when nothing helps."""

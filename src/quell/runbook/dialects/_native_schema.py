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
    alert_name: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    metric_query: str | None = None
    threshold: float | None = None
    operator: Literal[">", ">=", "<", "<="] = ">"
    for_: Annotated[Seconds, Field(alias="for")] = 0.0

    @model_validator(mode="after")
    def _complete(self) -> TriggerText:
        if self.type == "alert" and not self.alert_name and not self.labels:
            raise ValueError("an alert trigger needs alert_name or labels")
        if self.type == "metric_threshold" and (self.metric_query is None or self.threshold is None):
            raise ValueError("a metric_threshold trigger needs metric_query and threshold")
        return self


class InterpretText(Section):
    healthy: Condition | None = None
    warning: Condition | None = None
    critical: Condition | None = None


class RetryText(Section):
    attempts: Annotated[int, Field(ge=1, le=10)] = 2
    backoff: Seconds = 1.0


def _retry(value: Any) -> Any:
    return {"attempts": value + 1} if isinstance(value, int) and not isinstance(value, bool) else value


class DiagnosticText(Section):
    id: Id
    name: Text = ""
    description: Text = ""
    type: str
    config: dict[str, Any] = Field(default_factory=dict)
    timeout: Annotated[Seconds, Field(gt=0, le=3600)] = 30.0
    interpret: InterpretText = InterpretText()
    needs: Annotated[list[str], BeforeValidator(_listed)] = Field(default_factory=list)
    retry: Annotated[RetryText | None, BeforeValidator(_retry)] = None


class DecisionText(Section):
    condition: Condition | None = None
    otherwise: bool = False
    then: Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)]
    description: Text = ""

    @model_validator(mode="after")
    def _either(self) -> DecisionText:
        if (self.condition is None) == (not self.otherwise):
            raise ValueError("give either condition or otherwise: true")
        return self


class ActionText(Section):
    type: str
    config: dict[str, Any] = Field(default_factory=dict)


def _action(value: Any) -> Any:
    """``{restart_service: payment}`` is short for the type with its service."""
    if isinstance(value, dict) and len(value) == 1 and "type" not in value:
        name, given = next(iter(value.items()))
        return {"type": name, "config": given if isinstance(given, dict) else {"service": given}}
    return value


class ApprovalText(Section):
    from_: Annotated[str, Field(alias="from")] = "oncall"
    people: Annotated[int, Field(ge=1, le=10)] = 1
    expires: Annotated[Seconds, Field(gt=0)] = 600.0
    on_no_answer: Literal["page", "deny"] = "page"


class PostconditionText(Section):
    check: Condition
    within: Seconds = 60.0


def _postcondition(value: Any) -> Any:
    return {"check": value} if isinstance(value, str) else value


class RevertText(Section):
    after: Seconds
    ask: str = "owner"


class UndoText(Section):
    """``none``, or where to undo (``on``), unless what, and the call: a type, or other config of the same type."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str | None = None
    config: dict[str, Any] = Field(default_factory=dict)
    on: Annotated[tuple[Literal["failed", "worse", "unchanged", "cannot_tell"], ...], BeforeValidator(_listed)] = (
        "worse",
    )
    unless: Condition | None = None
    none: bool = False

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
    stop_on: Annotated[tuple[Literal["failed", "worse", "unchanged", "never"], ...], BeforeValidator(_listed)] = (
        "failed",
        "worse",
    )
    quorum: int | None = None

    @model_validator(mode="after")
    def _one(self) -> ForEachText:
        if len(self.model_extra or {}) != 1:
            raise ValueError("for_each names exactly one variable and its values")
        return self


class RemediationText(Section):
    id: Id
    name: Text = ""
    description: Text = ""
    type: Literal["manual", "automated", "escalate"]
    action: Annotated[ActionText | None, BeforeValidator(_action)] = None
    instructions: Text = ""
    to: str = ""
    requires_approval: bool = False
    approval: ApprovalText | None = None
    needs: Annotated[list[str], BeforeValidator(_listed)] = Field(default_factory=list)
    for_each: ForEachText | None = None
    capture: dict[str, str] = Field(default_factory=dict)
    guard: dict[str, Any] = Field(default_factory=dict)
    precondition: Condition | None = None
    postcondition: Annotated[PostconditionText | None, BeforeValidator(_postcondition)] = None
    undo: Annotated[UndoText, BeforeValidator(_undo)] = UndoText()
    revert: RevertText | None = None
    on_unknown: Literal["ask", "stop"] = "ask"
    timeout: Annotated[Seconds, Field(gt=0, le=86400)] = 120.0
    retry: Annotated[RetryText | None, BeforeValidator(_retry)] = None

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


class VerifyText(Section):
    signals: Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)] = Field(
        default_factory=lambda: ["trigger"]
    )
    stable_for: Seconds = 30.0
    within: Annotated[Seconds, Field(gt=0)] | None = None
    every: Annotated[Seconds, Field(gt=0)] | None = None
    require: str | dict[str, Any] | None = None
    on_recovered: Literal["resolve", "mitigate"] = "resolve"
    on_improved: Policy | Literal["keep_and_page", "keep_and_diagnose"] = "diagnose"
    on_unchanged: Policy = "next"
    on_worse: Policy = "undo_and_page"
    on_cannot_tell: Policy = "page"


class EscalationText(Section):
    primary: str
    secondary: str | None = None
    escalate_after_minutes: Annotated[float, Field(gt=0, le=10_080)] = 30.0
    page: Literal["immediately"] | None = None


class RunbookText(Section):
    id: Id
    name: Text = ""
    description: Text = ""
    severity: Literal["P1", "P2", "P3", "P4"] = "P3"
    service: str | None = None
    owner: str = ""
    mode: Literal["auto", "approve", "dry_run"] = "auto"
    triggers: Annotated[list[TriggerText], Field(min_length=1)]
    variables: dict[str, Any] = Field(default_factory=dict)
    diagnostics: list[DiagnosticText] = Field(default_factory=list)
    decision_tree: list[DecisionText] = Field(default_factory=list)
    decision_mode: Literal["first", "all"] = "first"
    max_rounds: Annotated[int, Field(ge=1, le=20)] = 5
    remediations: list[RemediationText] = Field(default_factory=list)
    verify: VerifyText | None = None
    escalation: EscalationText | None = None

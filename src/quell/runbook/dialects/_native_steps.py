"""Remediations of the native dialect as people write them. Never does: look at conditions or templates."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from quell.runbook.dialects._native_words import Condition, Id, RetryText, Seconds, Section, Text, listed, retried
from quell.runbook.window import parse_window


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
    from_: Annotated[str, Field(alias="from", min_length=1)] = "oncall"
    """Whom to ask: a group, a schedule, ``oncall`` or ``owner`` of the service, whose yes alone counts then; a notifier
    or an address (``#dba``), told beside the primary; or a name for the primary to know."""
    approvers: Annotated[list[str], BeforeValidator(listed)] = Field(default_factory=list)
    """Groups, schedules or people of whom alone a yes counts."""
    not_requester: bool = False
    """Whoever started it by hand, or gave it back, may not say yes."""
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
    after: Annotated[Seconds, Field(gt=0)]
    """When the change must be taken back."""
    ask: Annotated[str, Field(min_length=1)] = "owner"
    """Who sees to it: told now, and asked when it is due, as for an approval's ``from``."""


class UndoText(Section):
    """``none``, or where to undo (``on``), unless what, and the call: a type, or other config of the same type."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str | None = None
    """Another action; by default the action's own undo."""
    config: dict[str, Any] = Field(default_factory=dict)
    """Its parameters."""
    on: Annotated[
        tuple[Literal["failed", "worse", "unchanged", "cannot_tell"], ...],
        BeforeValidator(listed), Field(min_length=1),
    ] = ("worse",)  # fmt: skip
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
    if isinstance(value, str) and value != "none":
        raise ValueError("an undo is none, or a mapping such as {type: ACTION, ...} or {on: worse}")
    return {"none": True} if value in ("none", None, False) else value


class ForEachText(Section):
    """``for_each: {region: '${errors.critical.region}', batch: 1, stop_on: worse}``."""

    model_config = ConfigDict(extra="allow", frozen=True)

    batch: Annotated[int, Field(ge=1, le=1000)] = 1
    """How many at a time."""
    stop_on: Annotated[tuple[Literal["failed", "worse", "unchanged", "never"], ...], BeforeValidator(listed)] = (
        "failed",
        "worse",
    )
    """The outcomes that stop the rest."""
    quorum: Annotated[int, Field(ge=1)] | None = None
    """How many are enough."""

    @model_validator(mode="after")
    def _one(self) -> ForEachText:
        if not self.model_extra:
            raise ValueError("for_each names no variable: write {NAME: VALUES}")
        return self


def _for_each(value: Any) -> Any:
    if value is not None and not isinstance(value, dict):
        raise ValueError("for_each is a mapping of one variable to its values: {NAME: VALUES}")
    return value


def _window(value: str) -> str:
    if value:
        parse_window(value)
    return value


class RemediationText(Section):
    id: Id
    """What decisions call it."""
    name: Text = ""
    """What people call it."""
    description: Text = ""
    """What it is for."""
    type: Literal["manual", "automated", "escalate", "wait"]
    """Done by Quell, done by a person, handed to one, or left until later: then everything is looked at anew."""
    window: Annotated[str, AfterValidator(_window)] = ""
    """Of a ``wait``: the time of day that it waits for, as ``02:00-04:00 Europe/Zurich``; UTC where no zone is said."""
    duration: Annotated[Seconds, Field(ge=0, le=604800)] = 0.0
    """Of a ``wait``: how long it lasts, where there is no ``window``."""
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
    needs: Annotated[list[str], BeforeValidator(listed)] = Field(default_factory=list)
    """Remediations that must have been done before."""
    for_each: Annotated[ForEachText | None, BeforeValidator(_for_each)] = None
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
    retry: Annotated[RetryText | None, BeforeValidator(retried)] = None
    """For failures that may pass."""

    @model_validator(mode="after")
    def _complete(self) -> RemediationText:
        if self.type == "automated" and self.action is None:
            raise ValueError("an automated remediation needs an action")
        if self.type != "automated" and self.action is not None:
            raise ValueError(f"a {self.type} remediation has no action; only an automated one has")
        if self.type == "wait" and bool(self.window) == bool(self.duration):
            raise ValueError("a wait has either a window or a duration")
        if self.type != "wait" and (self.window or self.duration):
            raise ValueError(f"a {self.type} remediation has no window or duration; only a wait has")
        return self

"""May this action run, here, now? Pure: a question and the rules give yes, yes-if-somebody-agrees, or a named no.

The configuration sets the outer limits, the runbook narrows them. Over a limit is refused, never clamped.
Counting permits is the ledger's, in its own transaction. Never does: ask, act, count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from quell.errors import InvalidInput, Problem
from quell.incident.action import Risk
from quell.runbook.plan import Guard
from quell.runbook.quantities import rate, seconds
from quell.runbook.vocabulary import nearest

RISKS = (Risk.NONE, Risk.LOW, Risk.MEDIUM, Risk.HIGH, Risk.IRREVERSIBLE)


class _Rule(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ParameterRule(_Rule):
    """What values a parameter may have. ``pattern`` must match the whole text."""

    one_of: tuple[Any, ...] | None = None
    """The values it may have."""
    min: float | None = None
    """The smallest number."""
    max: float | None = None
    """The largest number."""
    pattern: str | None = None

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None
        return pattern

    def broken_by(self, value: Any) -> str | None:
        """What the value breaks, in words."""
        if self.one_of is not None and value not in self.one_of:
            return f"must be one of {', '.join(map(str, self.one_of))}"
        if self.pattern is not None and not re.fullmatch(self.pattern, str(value)):
            return f"must match {self.pattern}"
        if self.min is not None or self.max is not None:
            if isinstance(value, bool) or not isinstance(value, int | float):
                return "must be a number"
            if self.min is not None and value < self.min:
                return f"must be at least {self.min:g}"
            if self.max is not None and value > self.max:
                return f"must be at most {self.max:g}"
        return None


class ActionRule(_Rule):
    """The limits of one action type. ``rate``: permits per target, as ``2/10m``."""

    allow: bool = True
    """Whether it may run at all."""
    requires_approval: bool = False
    """Somebody must agree, whatever the runbook says."""
    max_magnitude: float | None = None
    """How much of it at once: replicas added, sessions ended."""
    rate: str | None = None
    max_release_age: Annotated[float, BeforeValidator(seconds)] | None = None
    """A release that was deployed longer ago, or nobody knows when, is not rolled back by itself."""
    parameters: dict[str, ParameterRule] = Field(default_factory=dict)
    """What values each parameter may have."""

    @field_validator("rate")
    @classmethod
    def _is_rate(cls, value: str | None) -> str | None:
        if value is not None:
            rate(value)
        return value

    @property
    def limit(self) -> tuple[int, float] | None:
        return rate(self.rate) if self.rate else None


DEFAULT_ACTIONS: dict[str, ActionRule] = {
    "restart_service": ActionRule(rate="2/10m"),
    "scale_up": ActionRule(max_magnitude=3),
    "rollback": ActionRule(max_release_age=3600.0),
    "failover_db": ActionRule(requires_approval=True),
}
"""What holds unless the configuration says otherwise for that action."""


@dataclass(frozen=True, slots=True)
class ActionWords:
    """An action's own name, and its parameters by every name they may be written under.

    ``open``: it has parameters that hold values under names of the author's (``identifiers``, ``params``).
    """

    name: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    open: bool = False


class Guardrails(_Rule):
    """The outer limits. ``default_allow`` False: only actions that are named may run."""

    default_allow: bool = True
    approval_from_risk: Risk = Risk.IRREVERSIBLE
    """From this risk on somebody must agree."""
    actions: dict[str, ActionRule] = Field(default_factory=dict)
    """Limits by action."""

    def named_by(self, words: Mapping[str, ActionWords], known: Sequence[str] = ()) -> Guardrails:
        """The same rules under the actions' and parameters' own names; ``words`` by what was written.

        Raises ``InvalidInput``: a rule under a misspelt name would guard nothing, and nobody would see it.
        """
        problems = [_misspelt("action type", name, {*words, *known}) for name in self.actions if name not in words]
        for name, rule in self.actions.items():
            spelled = words[name].parameters if name in words else {}
            if name in words and not words[name].open:
                wrong = (parameter for parameter in rule.parameters if parameter not in spelled)
                problems += [_misspelt("parameter", one, spelled, f"{name}.parameters.") for one in wrong]
        if problems:
            raise InvalidInput(problems)
        own = {words[name].name: _spelled(rule, words[name]) for name, rule in self.actions.items()}
        return self.model_copy(update={"actions": own})

    def rule(self, action: str) -> ActionRule:
        """What was configured over what holds anyway: naming an action loosens only what it names."""
        shipped, named = DEFAULT_ACTIONS.get(action, ActionRule()), self.actions.get(action)
        if named is None:
            return shipped.model_copy(update={"allow": self.default_allow})
        return shipped.model_copy(update={name: getattr(named, name) for name in named.model_fields_set})


def _spelled(rule: ActionRule, words: ActionWords) -> ActionRule:
    names = words.parameters
    return rule.model_copy(update={"parameters": {names.get(name, name): one for name, one in rule.parameters.items()}})


def _misspelt(what: str, name: str, names: Iterable[str], below: str = "") -> Problem:
    near = nearest(name, names)
    hint = f"; did you mean {near!r}?" if near else ""
    rule = f"unknown-{what.split(maxsplit=1)[0]}"
    return Problem(f"no {what} {name!r}{hint}", rule, path=f"guardrails.actions.{below}{name}", nearest=near)


@dataclass(frozen=True, slots=True)
class Question:
    """What is about to be done, and what is known of its surroundings."""

    action: str
    risk: Risk
    params: Mapping[str, Any]
    targets: tuple[str, ...]
    magnitude: float | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    service: str | None = None
    asks_approval: bool = False
    approved: bool = False
    guard: Guard = Guard()
    mode: str = "auto"
    taken_by: str | None = None
    trigger_gone: bool = False
    undoing: bool = False
    own_undo: bool = False
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Ruling:
    """``rule`` None: it may run, once somebody agrees if ``ask``. Else the rule that says no, with value and limit."""

    rule: str | None = None
    reason: str = ""
    value: Any = None
    limit: Any = None
    ask: bool = False


def rule_on(question: Question, rails: Guardrails) -> Ruling:
    """The first no, in the order in which a person would want to hear it; else whether approval is needed."""
    for ruling in _refusals(question, rails.rule(question.action)):
        return ruling
    if question.approved or question.own_undo:
        return Ruling()
    return _approval(question, rails)


def _approval(question: Question, rails: Guardrails) -> Ruling:
    if question.asks_approval:
        return Ruling(ask=True, reason="the runbook asks for approval")
    if rails.rule(question.action).requires_approval:
        return Ruling(ask=True, reason=f"guardrails ask for approval of {question.action}")
    if RISKS.index(question.risk) >= RISKS.index(rails.approval_from_risk):
        return Ruling(ask=True, reason=f"guardrails ask for approval from risk {rails.approval_from_risk.value} on")
    if question.mode == "approve":
        return Ruling(ask=True, reason="the runbook runs in approve mode")
    return Ruling()


def _refusals(question: Question, rule: ActionRule) -> Iterator[Ruling]:
    yield from _surroundings(question)
    if not rule.allow:
        yield Ruling("not_allowed", f"guardrails do not allow {question.action}")
    yield from _parameters(question, rule)
    yield from _magnitude(question, rule)
    yield from _age(question, rule.max_release_age)


def _age(question: Question, limit: float | None) -> Iterator[Ruling]:
    """How old what is current may be. Where there is a limit, not knowing the age is over it."""
    if limit is None:
        return
    age = question.facts.get("release_age_s")
    if not isinstance(age, int | float) or isinstance(age, bool):
        yield Ruling("max_release_age", "nobody says when the current release was deployed", None, limit)
    elif not age <= limit:
        yield Ruling(
            "max_release_age", f"the current release is {age:.0f} s old; only younger than {limit:g} s "
            "may be rolled back by itself", age, limit,
        )  # fmt: skip


def _magnitude(question: Question, rule: ActionRule) -> Iterator[Ruling]:
    """How much at once. Where there is a limit, not knowing how much is over it."""
    own = question.guard.limits.get("max_magnitude")
    limits = [limit for limit in (rule.max_magnitude, own) if limit is not None]
    if not limits:
        return
    if not all(isinstance(limit, int | float) for limit in limits):
        yield Ruling("max_magnitude", f"the runbook's max_magnitude is no number: {own!r}", question.magnitude, own)
    elif question.magnitude is None:
        yield Ruling("max_magnitude", f"{question.action} does not tell how much it would do", None, min(limits))
    elif not question.magnitude <= min(limits):
        yield Ruling(
            "max_magnitude", f"{question.action} would do {question.magnitude:g}, at most {min(limits):g} at once",
            question.magnitude, min(limits),
        )  # fmt: skip


def _surroundings(question: Question) -> Iterator[Ruling]:
    if question.ended:
        yield Ruling("incident_ended", "the incident has ended")
    if question.taken_by:
        yield Ruling("taken", f"{question.taken_by} has taken the incident")
    if question.trigger_gone and not question.undoing:
        yield Ruling("trigger_gone", "the alert resolved by itself before anything was done")
    if question.service is None and question.risk is not Risk.NONE:
        yield Ruling("unknown_service", "the alert's service is not known: diagnose and page, never act")


def _parameters(question: Question, rule: ActionRule) -> Iterator[Ruling]:
    """By name, the site's rules before the runbook's: what is said first does not hang on how somebody ordered keys."""
    given = sorted(_flat(question.params), key=lambda one: one[0])
    known = {name for name, _ in given}
    for name in sorted(question.guard.allow):
        if name not in known:  # guarding nothing, it must not look like a guard
            yield Ruling(
                "guard", f"the runbook guards {name!r}, which this call of {question.action} does not have", name
            )
    for name, value in given:
        if name in rule.parameters and (broken := rule.parameters[name].broken_by(value)):
            yield Ruling("parameter", f"{name} {broken} (guardrails)", value, name)
    for name, value in given:
        allowed = question.guard.allow.get(name)
        if allowed is not None and not _in(value, allowed):
            shown = ", ".join(map(str, allowed))
            yield Ruling("guard", f"{name} must be one of {shown} (the runbook's guard)", value, shown)


def _in(value: Any, allowed: list[Any]) -> bool:
    return all(one in allowed for one in value) if isinstance(value, list | tuple) else value in allowed


def _flat(params: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every parameter with its name, and those inside ``identifiers`` and ``params``: each occurrence counts."""
    yield from params.items()
    for group in ("identifiers", "params"):
        inside = params.get(group)
        if isinstance(inside, Mapping):
            yield from inside.items()

"""May this action run, here, now? Pure: a question and the rules give yes, yes-if-somebody-agrees, or a named no.

The configuration sets the outer limits, the runbook narrows them. Over a limit is refused, never clamped.
Counting permits is the ledger's, in its own transaction. Never does: ask, act, count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from quell.incident.action import Radius, Risk
from quell.incident.pause import Pause
from quell.ports import Command
from quell.respond.commands import refused
from quell.respond.limits import ActionRule, BlastRadius
from quell.respond.rails import Guardrails
from quell.runbook.calendar import Period
from quell.runbook.plan import HANDS_OFF, Guard, strictest
from quell.runbook.quantities import spoken

RISKS = (Risk.NONE, Risk.LOW, Risk.MEDIUM, Risk.HIGH, Risk.IRREVERSIBLE)


@dataclass(frozen=True, slots=True)
class Question:
    """What is about to be done, and what is known of its surroundings.

    ``now``: None where no clock was read, as in a forecast. ``overridden``: somebody broke the glass, and what says
    when nothing is changed does not count; what says what and how much does. ``rehearsal``: what would be said if the
    mode let anything happen. ``owner``: whose the runbook is, ``owned_by``: whose the service. ``remedied``: how
    many other runs repaired the service within the breaker's time and since it was reset.
    """

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
    rehearsal: bool = False
    taken_by: str | None = None
    trigger_gone: bool = False
    undoing: bool = False
    own_undo: bool = False
    ended: bool = False
    superseded_by: int | None = None
    """The run of the incident that goes on instead of the one that asks."""
    paused: Pause | None = None
    overridden: bool = False
    now: datetime | None = None
    tenant: str = "default"
    environment: str = ""
    owner: str = ""
    owned_by: str = ""
    radius: Radius | None = None
    remedied: int = 0
    commands: tuple[Command, ...] = ()


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
    own = rails.of(question.tenant, question.environment)
    rule, mode = own.rule(question.action, question.risk), strictest(question.mode, own.mode)
    for ruling in _refusals(question, rule, own):
        return ruling
    if mode in HANDS_OFF and not (question.undoing or question.rehearsal):
        return Ruling("mode", f"nothing is changed here: the mode is {mode}", question.mode, mode)
    if question.approved or question.own_undo:
        return Ruling()
    return _approval(question, rule, own, mode)


def _approval(question: Question, rule: ActionRule, rails: Guardrails, mode: str) -> Ruling:
    if question.asks_approval:
        return Ruling(ask=True, reason="the runbook asks for approval")
    if rule.requires_approval:
        return Ruling(ask=True, reason=f"guardrails ask for approval of {question.action}")
    if RISKS.index(question.risk) >= RISKS.index(rails.approval_from_risk):
        return Ruling(ask=True, reason=f"guardrails ask for approval from risk {rails.approval_from_risk.value} on")
    for ruling in _when(question, rails, asking=True):
        return Ruling(ask=True, reason=ruling.reason)
    breaker, again = rails.breaker, not question.undoing and question.risk is not Risk.NONE
    if again and breaker.enabled and question.remedied >= breaker.after:
        times = "once" if question.remedied == 1 else f"{question.remedied} times"
        why = f"{question.service} was repaired {times} within {spoken(breaker.within)}"
        return Ruling(ask=True, reason=f"{why}: from {breaker.after} on a person decides", value=question.remedied)
    if mode == "approve":
        whose = "the runbook runs" if question.mode == mode else "guardrails say that everything here runs"
        return Ruling(ask=True, reason=f"{whose} in approve mode")
    return Ruling()


def paused(pause: Pause) -> Ruling:
    """What the kill switch says to an action that it covers."""
    return Ruling("paused", pause.says, pause.id, pause.until.isoformat())


def _refusals(question: Question, rule: ActionRule, rails: Guardrails) -> Iterator[Ruling]:
    yield from _surroundings(question)
    yield from _ownership(question, rails)
    yield from _when(question, rails, asking=False)
    if not rule.allow:
        yield Ruling("not_allowed", f"guardrails do not allow {question.action}")
    if (no := refused(question.commands, rails.commands)) is not None:
        yield Ruling("command", str(no), no.value, no.limit)
    yield from _parameters(question, rule)
    yield from _magnitude(question, rule)
    yield from _age(question, rule.max_release_age)
    yield from _blast_radius(question, rule.blast_radius)


def _ownership(question: Question, rails: Guardrails) -> Iterator[Ruling]:
    service = question.service
    if question.undoing or service is None or rails.ownership.allows(question.owner, service, question.owned_by):
        return
    whose = f"the runbook of {question.owner}" if question.owner else "a runbook without an owner"
    yield Ruling("ownership", f"{service} is {question.owned_by}'s; {whose} may not act on it", question.owner,
                 question.owned_by)  # fmt: skip


def _when(question: Question, rails: Guardrails, *, asking: bool) -> Iterator[Ruling]:
    """Freezes and hours, those that ``asking`` lifts or the others. Taking something back waits for neither."""
    now = question.now
    if now is None or question.undoing or question.risk is Risk.NONE or (question.overridden and not asking):
        return
    about = (question.tenant, question.environment, question.service, question.action)
    for freeze in rails.freezes:
        if freeze.ask is asking and freeze.applies(*about) and (end := freeze.end_of(now)) is not None:
            why = f": {freeze.reason}" if freeze.reason else ""
            yield Ruling("freeze", f"{freeze.name} freezes changes until {_at(end, freeze)}{why}", freeze.name,
                         end.isoformat())  # fmt: skip
    hours = [one for one in rails.hours if one.applies(*about)] if rails.hours else ()
    # One that nobody may lift is enough to refuse.
    if hours and not any(one.covers(now) for one in hours) and asking is all(one.ask for one in hours):
        names = " and ".join(one.name for one in hours)
        yield Ruling("hours", f"{question.action} is done in {names} only, and it is {_at(now, hours[0])}",
                     now.isoformat(), names)  # fmt: skip


def _at(moment: datetime, period: Period) -> str:
    """By the clock on the wall that the period goes by."""
    return f"{period.on_the_wall(moment):%Y-%m-%d %H:%M} {period.timezone}"


def _blast_radius(question: Question, limits: BlastRadius | None) -> Iterator[Ruling]:
    radius = question.radius
    if radius is None or limits is None:
        return
    if limits.targets is not None and radius.at_once > limits.targets:
        why = f"{radius.at_once} replicas of {question.service} at once, at most {limits.targets}"
        yield Ruling("blast_targets", why, radius.at_once, limits.targets)
    if limits.share is not None and radius.of and radius.at_once > limits.share * radius.of:
        share = radius.at_once / radius.of
        why = f"{radius.at_once} of {radius.of} replicas of {question.service} at once is {share:.0%}"
        yield Ruling("blast_share", f"{why}, at most {limits.share:.0%}", round(share, 4), limits.share)
    if limits.keep_last and radius.of > 1 and radius.healthy and not radius.healthy_left:
        why = f"no healthy replica of {question.service} would be left, of {radius.healthy} that are healthy now"
        yield Ruling("last_healthy", why, radius.healthy_left, 1)


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
    if question.superseded_by is not None:
        yield Ruling("superseded", f"run {question.superseded_by} of the incident goes on instead of this one")
    if question.paused and not question.overridden:
        yield paused(question.paused)
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

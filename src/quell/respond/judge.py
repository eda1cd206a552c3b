"""Reading + conditions → Finding. Pure. Critical before warning before healthy; what cannot be known is never healthy.

Never does: ask anybody anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from quell.incident.finding import Finding, Health, Missing, Observation, Reading, TargetFinding, worst
from quell.runbook.expr import Absent, ExprError, Program, Scope, compile
from quell.runbook.plan import Check

LEVELS = (("critical", Health.CRITICAL), ("warning", Health.WARNING), ("healthy", Health.HEALTHY))


class Judgement:
    """A status, the clause that decided, and why it could not be told, when it could not."""

    __slots__ = ("clause", "error_class", "message", "status")

    def __init__(self, status: Health, clause: str = "", message: str = "", error_class: str | None = None) -> None:
        self.status, self.clause, self.message, self.error_class = status, clause, message, error_class


def judge(check: Check, scope: Scope | None, reading: Reading, world: Mapping[str, Any], **times: Any) -> Finding:
    """The finding of a check. ``world`` is what conditions may read beside the check's own facts.

    ``times``: ``duration_ms``, ``looked_at``.
    """
    programs = _programs(check, scope)
    if isinstance(programs, Judgement):
        return _finding(check, reading, programs, (), times)
    if reading.targets and _about_targets(programs, reading):
        targets = tuple(_target(programs, observation, reading, world) for observation in reading.targets)
        status = worst([target.status for target in targets])
        first = next(target for target in targets if target.status is status)
        whole = Judgement(status, message=_headline(targets, status), error_class=first.error_class)
        return _finding(check, reading, whole, targets, times)
    judgement = _decide(programs, {**world, **_facts(reading.facts, reading.missing)})
    return _finding(check, reading, judgement, (), times)


def _programs(check: Check, scope: Scope | None) -> list[tuple[Health, Program]] | Judgement:
    programs = []
    for name, status in LEVELS:
        text = getattr(check.interpret, name)
        if text is None:
            continue
        try:
            programs.append((status, compile(text, scope)))
        except ExprError as error:
            return Judgement(Health.ERROR, message=f"{name}: {error}", error_class="invalid")
    return programs


def _about_targets(programs: list[tuple[Health, Program]], reading: Reading) -> bool:
    """True when a condition reads a fact that only targets have."""
    roots = {name.split(".")[0] for _, program in programs for name in program.names}
    of_targets = {name for observation in reading.targets for name in (*observation.facts, *observation.missing)}
    return bool(roots & of_targets - set(reading.facts))


def _facts(facts: Mapping[str, Any], missing: Mapping[str, Missing]) -> dict[str, Any]:
    return {
        **{name: Absent(why.reason, why.error_class, at_least=why.at_least) for name, why in missing.items()},
        **facts,
    }


def _decide(programs: list[tuple[Health, Program]], env: Mapping[str, Any]) -> Judgement:
    if not programs:
        return Judgement(Health.NO_DATA, message="the runbook says no conditions for it")
    unknown: Absent | None = None
    for status, program in programs:
        verdict = program.verdict(env)
        if verdict is True:
            return Judgement(status, program.explain(env).render())
        if isinstance(verdict, Absent) and (unknown is None or verdict.error_class):
            unknown = verdict
    if unknown is None:
        return Judgement(Health.NO_DATA, message="none of its conditions holds")
    if unknown.error_class:
        return Judgement(Health.ERROR, message=unknown.reason, error_class=unknown.error_class)
    return Judgement(Health.NO_DATA, message=unknown.reason)


def _target(
    programs: list[tuple[Health, Program]], seen: Observation, reading: Reading, world: Mapping[str, Any]
) -> TargetFinding:
    env = {**world, **_facts(reading.facts, reading.missing), **_facts(seen.facts, seen.missing)}
    judgement = _decide(programs, env)
    return TargetFinding(
        target=seen.target, labels=dict(seen.labels), status=judgement.status, facts=dict(seen.facts),
        message=judgement.clause or judgement.message or seen.summary, error_class=judgement.error_class,
    )  # fmt: skip


def _headline(targets: tuple[TargetFinding, ...], status: Health) -> str:
    names = [target.target for target in targets if target.status is status]
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"{len(names)} of {len(targets)} {status.value}: {shown}"


def _finding(
    check: Check, reading: Reading, judgement: Judgement, targets: tuple[TargetFinding, ...], times: Mapping[str, Any]
) -> Finding:
    message = "; ".join(part for part in (reading.summary, judgement.message) if part) or judgement.clause
    return Finding(
        check=check.id, name=check.name, type=check.call.type, status=judgement.status, message=message[:2000],
        error_class=judgement.error_class, clause=judgement.clause[:2000], facts=dict(reading.facts),
        missing={name: why.reason for name, why in reading.missing.items()}, targets=targets,
        at_least={name: why.at_least for name, why in reading.missing.items() if why.at_least is not None},
        observed_at=reading.observed_at, evidence=dict(reading.evidence), **times,
    )  # fmt: skip


def failed(
    check: Check, message: str, error_class: str, *, duration_ms: float, looked_at: datetime,
    evidence: Mapping[str, Any] | None = None,
) -> Finding:  # fmt: skip
    """The finding of a check that could not look."""
    return Finding(
        check=check.id, name=check.name, type=check.call.type, status=Health.ERROR, message=message[:2000],
        error_class=error_class, duration_ms=duration_ms, looked_at=looked_at, evidence=dict(evidence or {}),
    )  # fmt: skip

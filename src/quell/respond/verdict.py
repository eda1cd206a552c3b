"""Before and after → one of the five verdicts. Pure.

A status that got better or worse speaks first; within the same status the value itself does, measured against the
bound that its own conditions name. Never does: look, wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from quell.incident.action import Verdict
from quell.incident.finding import Finding, Health
from quell.runbook.expr import Bound, ExprError, bounds, compile
from quell.runbook.plan import Check, Plan
from quell.runbook.scope import interpret_scope

RANK = {Health.HEALTHY: 0, Health.WARNING: 1, Health.CRITICAL: 2}
MOVED = 0.25
"""A value counts as moved when its excess over the bound changed by a quarter."""


@dataclass(frozen=True, slots=True)
class Signal:
    """One thing that verification asks, before the action and now. ``limits``: what its own conditions call bad."""

    name: str
    before: Finding
    now: Finding
    limits: tuple[Bound, ...] = ()


def limits_of(plan: Plan, check: Check) -> tuple[Bound, ...]:
    """The numeric bounds of a check's warning condition, or of its critical one, in run-time units."""
    condition = check.interpret.warning or check.interpret.critical
    if condition is None:
        return ()
    try:
        return bounds(compile(condition, None if "..." in check.facts else interpret_scope(plan, check)).tree)
    except ExprError:
        return ()


def compare(signal: Signal) -> Verdict:
    """What one signal says by itself."""
    now, before = RANK.get(signal.now.status), RANK.get(signal.before.status)
    if now is None:
        return Verdict.CANNOT_TELL
    if now == 0:
        return Verdict.CANNOT_TELL if _lost(signal) else Verdict.RECOVERED
    if before is None:
        return Verdict.CANNOT_TELL
    if now != before:
        return Verdict.IMPROVED if now < before else Verdict.WORSE
    return _by_value(signal)


def _lost(signal: Signal) -> bool:
    """Whether one that was bad is not there any more, and nothing has taken its place: dead is not healthy."""
    left = {one.target for one in signal.now.targets}
    gone = [one for one in signal.before.targets if one.status is not Health.HEALTHY and one.target not in left]
    return bool(gone) and len(left) < len(signal.before.targets)


def turned(signals: Iterable[Signal]) -> bool:
    """Whether one that was bad is healthy now: evidence of a change, not of a past that still shows."""
    return any(RANK.get(one.before.status, 0) and one.now.status is Health.HEALTHY for one in signals)


def _by_value(signal: Signal) -> Verdict:
    moves = [
        _move(excess_before, excess_now)
        for key, excess_before in _excesses(signal.before, signal.limits).items()
        if (excess_now := _excesses(signal.now, signal.limits).get(key)) is not None
    ]
    if Verdict.WORSE in moves:
        return Verdict.WORSE
    return Verdict.IMPROVED if Verdict.IMPROVED in moves else Verdict.UNCHANGED


def _move(before: float, now: float) -> Verdict:
    if before <= 0:
        return Verdict.WORSE if now > 0 else Verdict.UNCHANGED
    change = (now - before) / before
    if change <= -MOVED:
        return Verdict.IMPROVED
    return Verdict.WORSE if change >= MOVED else Verdict.UNCHANGED


def _excesses(finding: Finding, limits: Iterable[Bound]) -> dict[tuple[str, str], float]:
    """How far each bounded fact is on the bad side, per target: positive is bad."""
    seen: list[tuple[str, Mapping[str, Any]]] = [(one.target, one.facts) for one in finding.targets]
    result: dict[tuple[str, str], float] = {}
    for target, facts in seen or [("", finding.facts)]:
        for bound in limits:
            value = facts.get(bound.name)
            if isinstance(value, int | float) and not isinstance(value, bool) and bound.op in (">", ">=", "<", "<="):
                sign = 1.0 if bound.op in (">", ">=") else -1.0
                result.setdefault((target, bound.name), sign * (float(value) - float(bound.limit)))
    return result


def classify(signals: Iterable[Signal], *, enough: bool | None) -> Verdict:
    """What all signals say together at one moment. ``enough``: whether ``require`` holds; None when nobody asked."""
    asked = list(signals)
    said = [compare(signal) for signal in asked]
    if Verdict.WORSE in said:
        return Verdict.WORSE
    if enough is False or Verdict.CANNOT_TELL in said or not said:
        return Verdict.CANNOT_TELL
    if all(one is Verdict.RECOVERED for one in said):
        return Verdict.RECOVERED
    # A signal that was healthy before and still is has not moved.
    moved = [one for signal, one in zip(asked, said, strict=True) if signal.before.status is not Health.HEALTHY]
    return Verdict.IMPROVED if {Verdict.IMPROVED, Verdict.RECOVERED} & set(moved) else Verdict.UNCHANGED

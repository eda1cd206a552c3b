"""Which decisions hold, in order, with the clauses that say so; which to try next. Pure.

Never does: guess. When none holds that has not been tried, there is no choice, and a person is asked.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from quell.runbook.expr import ExprError, compile
from quell.runbook.plan import Act, Decision, Plan
from quell.runbook.scope import decision_scope


@dataclass(frozen=True, slots=True)
class Explained:
    """One decision of the tree: whether it holds (None: cannot be told) and why."""

    decision: str
    holds: bool | None
    clause: str
    then: tuple[str, ...]
    description: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """``recommended``: all that hold, in order. ``chosen``: what to try now; empty when there is nothing left."""

    recommended: tuple[str, ...]
    chosen: tuple[str, ...]
    explained: tuple[Explained, ...]
    reason: str


def choose(plan: Plan, env: Mapping[str, Any], tried: Collection[str]) -> Choice:
    """The next decision to carry out; with ``decision_mode: all`` every one that holds and was not tried."""
    scope = decision_scope(plan)
    explained = [_explain(decision, env, scope) for decision in plan.decisions]
    recommended = [one.decision for one in explained if one.holds]
    fresh = [name for name in recommended if name not in tried]
    fallback = [one for one in plan.decisions if one.when is None and one.id not in tried]
    unknown = [one for one in explained if one.holds is None and one.decision not in tried]
    if fresh:
        chosen = fresh if plan.decision_mode == "all" else fresh[:1]
        reason = next(one.clause for one in explained if one.decision == chosen[0])
    elif fallback and unknown and _changes(plan, fallback[0]):
        # ``otherwise`` says that the others do not hold, and of one nobody knows.
        chosen, reason = [], f"cannot tell whether {unknown[0].decision} holds: {unknown[0].clause}"
    elif fallback:
        chosen, reason = [fallback[0].id], "otherwise: no decision holds that was not tried"
    elif recommended:
        chosen, reason = [], "every decision that holds has been tried"
    else:
        chosen, reason = [], "no decision holds"
    return Choice(tuple(recommended), tuple(chosen), tuple(explained), reason)


def _changes(plan: Plan, decision: Decision) -> bool:
    return any(isinstance(plan.by_id.get(step), Act) for step in decision.then)


def _explain(decision: Decision, env: Mapping[str, Any], scope: Any) -> Explained:
    if decision.when is None:
        return Explained(decision.id, False, "otherwise", decision.then, decision.description)
    try:
        explanation = compile(decision.when, scope).explain(env)
    except ExprError as error:
        return Explained(decision.id, None, str(error), decision.then, decision.description)
    return Explained(decision.id, explanation.result, explanation.render(), decision.then, decision.description)

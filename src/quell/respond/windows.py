"""How far back the guardrails look: what is younger must stay in the ledger. Pure. Never does: count."""

from __future__ import annotations

from collections.abc import Iterable

from quell.respond.limits import DEFAULT_ACTIONS
from quell.respond.rails import Guardrails
from quell.runbook.plan import Act, Plan


def longest_s(rails: Guardrails, plans: Iterable[Plan]) -> float:
    """The longest time in which a rate or a breaker counts, whoever it is for and whether or not it is on."""
    overrides = rails.overrides
    breakers = [rails.breaker, *(one.breaker for one in overrides if one.breaker is not None)]
    tables = [DEFAULT_ACTIONS.values(), rails.risks.values(), rails.actions.values()]
    for one in overrides:
        tables += [one.risks.values(), one.actions.values()]
    rates = [rule.limit[1] for table in tables for rule in table if rule.limit is not None]
    return max([*(one.within for one in breakers), *rates, *(per_s for plan in plans for per_s in _of(plan))])


def _of(plan: Plan) -> Iterable[float]:
    """A runbook's own."""
    return (node.guard.rate_per_s for node in plan.nodes if isinstance(node, Act) and node.guard.rate_per_s)

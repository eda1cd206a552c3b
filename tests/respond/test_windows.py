"""How far back the guardrails look, whoever says it."""

from __future__ import annotations

from typing import Any

import pytest

from quell.registry import Registry
from quell.respond.rails import Guardrails
from quell.respond.windows import longest_s
from quell.runbook.compile import compile_text
from quell.runbook.plan import Act, Guard
from quell.vocabulary_of import vocabulary_of
from tests.app import do, runbook

HOUR_S, DAY_S = 3600.0, 86_400.0


@pytest.mark.parametrize(
    ("rails", "longest"),
    [
        ({}, DAY_S),
        ({"breaker": {"within": "1h"}}, HOUR_S),
        ({"breaker": {"within": "1h", "enabled": False}}, HOUR_S),
        ({"breaker": {"within": "1m"}}, 600.0),  # restart_service: 2/10m, which holds anyway
        ({"actions": {"rollback": {"rate": "1/7d"}}}, 7 * DAY_S),
        ({"risks": {"high": {"rate": "1/7d"}}}, 7 * DAY_S),
        ({"overrides": [{"tenants": ["a"], "breaker": {"within": "30d"}}]}, 30 * DAY_S),
        ({"overrides": [{"tenants": ["a"], "actions": {"rollback": {"rate": "1/7d"}}}]}, 7 * DAY_S),
        ({"overrides": [{"tenants": ["a"], "risks": {"low": {"rate": "1/7d"}}}]}, 7 * DAY_S),
    ],
)
def test_the_longest_counts(rails: dict[str, Any], longest: float) -> None:
    assert longest_s(Guardrails.model_validate(rails), ()) == longest


def test_a_runbook_has_its_own() -> None:
    mend = f"- {{id: mend, type: automated, action: {do('mend', 0)}}}"
    text = runbook("- {condition: state.critical, then: [mend]}", mend).replace("@/", "/")
    (one,) = compile_text(text, "mend.yaml", vocabulary_of(Registry()))
    plan = one.plan
    assert plan is not None
    assert longest_s(Guardrails(), [plan]) == DAY_S
    guard = Guard(rate_count=1, rate_per_s=60 * DAY_S)
    nodes = tuple(one.model_copy(update={"guard": guard}) if isinstance(one, Act) else one for one in plan.nodes)
    assert longest_s(Guardrails(), [plan.model_copy(update={"nodes": nodes})]) == 60 * DAY_S

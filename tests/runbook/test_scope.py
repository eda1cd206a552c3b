"""What names conditions may read, by place."""

from __future__ import annotations

import pytest

from quell.runbook.expr import check_condition, parse
from quell.runbook.plan import Act, Check
from quell.runbook.scope import STATUSES, action_scope, decision_scope, interpret_scope
from tests.runbook.test_compile import FULL, plan_of

PLAN = plan_of(FULL)


def flaws(condition: str, scope) -> list[str]:
    return [flaw.message for flaw in check_condition(parse(condition), scope)]


@pytest.mark.parametrize(
    "condition",
    [
        "errors.critical", "errors.status === 'critical'", "diagnostics.errors.status == 'no_data'", "errors.value > 5",
        "errors.any_critical && !errors.all_healthy", "deploy.age <= 60m", "deploy.previous.exists",
        "errors.error_class == 'timeout'", "alert.labels.team == 'core'", "incident.run > 1", "limit > 2",
        "vars.limit > 2", "hold.done && !back.started", "trigger.healthy",
        *(f"errors.{status}" for status in STATUSES),
    ],
)  # fmt: skip
def test_decisions_read_checks_steps_alert_and_variables(condition):
    assert flaws(condition, decision_scope(PLAN)) == []


@pytest.mark.parametrize(
    "condition", ["value > 5", "errors.valeu > 5", "nothing.critical", "deploy.age > 'x'", "alert.nmae == 'x'"]
)
def test_decisions_read_nothing_else(condition):
    assert flaws(condition, decision_scope(PLAN))


def test_a_checks_own_facts_have_bare_names():
    check = PLAN.by_id["deploy"]
    assert isinstance(check, Check)
    assert flaws("age < 10m && errors.value > 1", interpret_scope(PLAN, check)) == []
    assert flaws("value > 1", interpret_scope(PLAN, check))


def test_conditions_of_an_action_read_what_it_observes():
    act = PLAN.by_id["back"]
    assert isinstance(act, Act)
    assert flaws("ready_count == total_count && deploy.previous.exists", action_scope(PLAN, act)) == []
    assert flaws("ready_count == 'all'", action_scope(PLAN, act))

"""The Plan as data: frozen, hashed without provenance, read along its edges."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from quell.runbook.plan import DECIDE, Plan
from tests.runbook.test_compile import FULL, plan_of
from tests.runbook.test_lint import GOOD


def test_it_is_frozen_and_refuses_unknown_words():
    plan = plan_of(GOOD)
    with pytest.raises(ValidationError):
        plan.severity = "P1"
    with pytest.raises(ValidationError):
        Plan.model_validate({**plan.model_dump(), "extra": 1})


def test_the_hash_is_sha_256_of_what_it_does():
    plan = plan_of(GOOD)
    assert len(plan.hash) == 64
    assert "origin" not in plan.model_dump_json()
    assert plan.model_copy(update={"name": "another"}).model_dump() != plan.model_dump()


def test_what_came_later_changes_no_hash_that_does_not_use_it():
    """As releases before these fields made it; runs that are under way carry it."""
    assert plan_of(FULL).hash == "5cd4ba13d7bffe6f413dd61d25e535830f7397282d567b231bd5f70514ecea15"
    ours = plan_of(FULL.replace("id: api-errors", "id: api-errors\npriority: 1"))
    assert ours.hash != plan_of(FULL).hash
    assert Plan.model_validate_json(ours.model_dump_json()).priority == 1


def test_a_plan_that_was_stored_before_them_is_read():
    trigger = {
        "type": "alert", "alert_name": "ApiErrors", "labels": {"team": "core"}, "metric_query": None, "threshold": None,
        "operator": ">", "for_s": 30.0,
    }  # fmt: skip
    stored = {**plan_of(FULL).model_dump(mode="json"), "triggers": [trigger]}
    assert "priority" not in stored
    plan = Plan.model_validate(stored)
    assert (plan.priority, plan.triggers[0].matchers, plan.triggers[0].severity, plan.triggers[0].source) == (
        0,
        (),
        (),
        (),
    )
    assert plan.triggers[0].model_dump(mode="json") == trigger


def test_checks_lead_to_decide_and_needs_come_first():
    plan = plan_of(FULL)
    assert {edge.source for edge in plan.incoming(DECIDE, None)} == {"errors", "deploy"}
    assert [edge.source for edge in plan.incoming("deploy", None)] == ["errors"]
    assert all(edge.on == "settled" for edge in plan.incoming(DECIDE, None))


def test_a_decision_is_a_path_of_edges():
    plan = plan_of(FULL)
    assert [edge.source for edge in plan.incoming("hold", "d1")] == [DECIDE]
    assert [(edge.source, edge.on) for edge in plan.incoming("back", "d1")] == [("hold", "done")]
    assert plan.incoming("back", "d2") == ()


def test_a_page_comes_also_after_a_failure():
    plan = plan_of(GOOD.replace("then: [roll_back]", "then: [roll_back, page]"))
    assert [(edge.source, edge.on) for edge in plan.incoming("page", "d1")] == [("roll_back", "settled")]

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

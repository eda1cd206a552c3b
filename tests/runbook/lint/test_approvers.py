"""Whose yes a runbook asks for: a name that nearly is a group's is told, and one that asks everybody."""

from __future__ import annotations

import pytest

from quell.registry import Registry
from quell.runbook.compile import compile_text
from quell.vocabulary_of import vocabulary_of

BOOK = """
id: down
service: shop
triggers: [{type: alert, alert_name: Down}]
diagnostics: [{id: state, type: shell_command, config: {command: ['true']}, interpret: {healthy: exit_code == 0, critical: exit_code != 0}}]
decision_tree: [{condition: state.critical, then: [fix]}]
remediations: [{id: fix, type: automated, approval: APPROVAL, action: {type: run_script, config: {command: ['true']}}}]
verify: {signals: [state], stable_for: 0s}
escalation: {primary: 'log:'}
"""


def told(approval: str, circles: tuple[str, ...] | None = ("dba", "shop-oncall")) -> list[tuple[str, str, str | None]]:
    words = vocabulary_of(Registry(), circles=circles)
    (one,) = compile_text(BOOK.replace("APPROVAL", approval), "a.yaml", words)
    found = [problem for problem in one.problems if problem.rule == "unknown-approver"]
    return [(problem.path, problem.severity, problem.nearest) for problem in found]


@pytest.mark.parametrize(
    "approval",
    ["{from: dba}", "{from: oncall}", "{from: owner, approvers: [shop-oncall, dba]}", "{approvers: [xavier]}",
     "{from: '#dba'}", "{people: 2}"],
)  # fmt: skip
def test_names_that_mean_people(approval: str) -> None:
    assert told(approval) == []


def test_what_nearly_is_a_group() -> None:
    place = "remediations[0].approval"
    assert told("{approvers: [dbas]}") == [(f"{place}.approvers[0]", "warning", "dba")]
    assert told("{from: db}") == [(f"{place}.from", "warning", "dba")]


def test_a_name_of_nobody_asks_everybody() -> None:
    assert told("{from: payments}") == [("remediations[0].approval.from", "warning", None)]


@pytest.mark.parametrize("circles", [None, ()])
def test_without_any_group_there_is_nothing_to_hold_it_against(circles: tuple[str, ...] | None) -> None:
    assert told("{from: dba, approvers: [dbas]}", circles) == []

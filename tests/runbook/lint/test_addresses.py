"""Addresses that reach nobody, as the installed notifiers declare their prefixes: told with place and nearest name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from quell.errors import Problem
from quell.registry import Registry
from quell.runbook.compile import compile_text
from quell.vocabulary_of import vocabulary_of
from tests.runbook.marked import marked

HEAD = "id: a\nservice: api\ntriggers: [{type: manual}]\n"
STEP = "decision_tree: [{otherwise: true, then: [fix]}]\nremediations:\n- {id: fix, "
LOG = "escalation: {primary: 'log:oncall'}\n"


@dataclass(frozen=True)
class Configured:
    type: str
    options: dict[str, Any] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)


TWO = {"incidents-payment": Configured("slack"), "sre": Configured("slack"), "payments": Configured("pagerduty")}
PEOPLE = {
    "dba": Configured("slack", params={"connection": "sre"}), "ops": Configured("log"),
    "leads": Configured("slack", params={"url": "env:LEADS"}),
}  # fmt: skip


def problems(
    text: str, connections: dict[str, Configured] | None, notifiers: dict[str, Configured] | None
) -> list[Problem]:
    words = vocabulary_of(Registry(), connections=connections, notifiers=notifiers)
    return [
        one for item in compile_text(text, "a.yaml", words) for one in item.problems if one.rule == "unknown-address"
    ]


def primary(to: str, more: str = "") -> str:
    return f"{HEAD}escalation: {{primary: ¦'{to}'{more}}}\n"


NOWHERE = [
    (primary("#incident-payment"), "escalation.primary", "#incidents-payment"),
    (primary("slack:sra"), "escalation.primary", "slack:sre"),
    (primary("#general"), "escalation.primary", None),
    (primary("webhook:hooks"), "escalation.primary", None),
    (primary("pagerdutty:payments"), "escalation.primary", "pagerduty:payments"),
    (primary("dab"), "escalation.primary", "dba"),
    (f"{HEAD}escalation: {{primary: ops, secondary: ¦nobody}}\n", "escalation.secondary", None),
    (f"{HEAD}{LOG}{STEP}type: escalate, to: ¦'slack:dbb'}}\n", "remediations[0].to", "slack:dba"),
    (f"{HEAD}{LOG}{STEP}type: manual, instructions: x, approval: {{from: ¦'slakc:dba'}}}}\n",
     "remediations[0].approval.from", "slack:dba"),
    (f"{HEAD}{LOG}{STEP}type: automated, action: {{type: run_script, config: {{command: [a]}}}}, "
     "revert: {after: 1h, ask: ¦'#db'}}\n", "remediations[0].revert.ask", "#dba"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "path", "near"), NOWHERE, ids=[case[0].split("¦")[1][:22] for case in NOWHERE])
def test_an_address_that_reaches_nobody_is_an_error(text: str, path: str, near: str | None) -> None:
    plain, place = marked(text)
    (problem,) = problems(plain, TWO, PEOPLE)
    assert (problem.line, problem.column) == place
    assert (problem.severity, problem.path, problem.nearest) == ("error", path, near)


@pytest.mark.parametrize(
    "to", ["#incidents-payment", "slack:sre", "pagerduty:any", "dba", "#dba", "log:x", "console:", "log"]
)
def test_what_somebody_serves_is_clean(to: str) -> None:
    assert problems(marked(primary(to))[0], TWO, PEOPLE) == []


@pytest.mark.parametrize(
    ("connections", "notifiers"),
    [
        ({"sre": Configured("slack")}, {}),
        ({"sre": Configured("slack"), "slack": Configured("slack")}, {}),
        ({}, {"dba": Configured("slack", params={"url": "env:HOOK"})}),
    ],
)
def test_the_only_one_of_its_type_serves_every_name(
    connections: dict[str, Configured], notifiers: dict[str, Configured]
) -> None:
    assert problems(marked(primary("#anything"))[0], connections, notifiers) == []


@pytest.mark.parametrize("to", ["dba", "the database team", "oncall"])
def test_a_role_may_be_asked(to: str) -> None:
    step = f"{HEAD}{LOG}{STEP}type: manual, instructions: x, approval: {{from: {to}}}}}\n"
    assert problems(step, {}, {}) == []


def test_without_a_configuration_only_a_kind_that_there_is_not_is_a_warning() -> None:
    for to in ("#incidents", "slack:sre", "dba", "log:x"):
        assert problems(marked(primary(to))[0], None, None) == []
    (problem,) = problems(marked(primary("pagerdutty:payments"))[0], None, None)
    assert (problem.severity, problem.nearest) == ("warning", "pagerduty:payments")


def test_the_runbook_runs_all_the_same() -> None:
    words = vocabulary_of(Registry(), connections={}, notifiers={})
    (compiled,) = compile_text(marked(primary("#incidents"))[0], "a.yaml", words)
    assert [one.rule for one in compiled.errors] == ["unknown-address"]
    assert compiled.runnable

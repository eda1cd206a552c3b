"""What authors get wrong, one row each: said at its line and column, in their words, with the nearest name.

Never pretends to be complete: a mistake that was told badly gets a row here when that is mended.
"""

from __future__ import annotations

import pytest

from quell.errors import Problem
from quell.runbook.compile import compile_text
from tests.runbook.marked import marked
from tests.runbook.words import WORDS

TREE = "- {condition: errors.critical && leak.critical, then: [cap]}"
UNDO = "  undo: none"
VERIFY = "verify: {signals: [trigger, errors], stable_for: 30s, within: 10m}"
TRIGGERS = "triggers: [{type: alert, alert_name: A}]"
ERRORS = "  config: {query: 'sum(rate(x[2m]))'}"
ACTION = "  action: {type: run_script, config: {database: db, sql: 'alter role {role}', identifiers: {role: '${leak.first.role}'}}}"
GOOD = f"""\
id: m
service: api
{TRIGGERS}
diagnostics:
- id: errors
  type: prometheus_query
{ERRORS}
  interpret: {{healthy: value < 1, warning: value >= 1, critical: value >= 5}}
- id: leak
  type: database_query
  config: {{database: db, query: select 1}}
  interpret: {{healthy: row_count == 0, critical: row_count >= 10}}
decision_tree:
{TREE}
- {{otherwise: true, then: [page]}}
remediations:
- id: cap
  type: automated
{ACTION}
{UNDO}
- {{id: page, type: escalate}}
{VERIFY}
escalation: {{primary: log}}
"""

Row = tuple[str, str, str, str]
"""What is written (``¦`` stands before the place), the rule, a part of the message, the nearest name or ''."""

FOR_EACH: list[Row] = [
    ("for_each: {region: [a], bacth: ¦1}", "unknown-key", "unknown key 'bacth'", "batch"),
    ("for_each: {region: [a], stopon: ¦failed}", "unknown-key", "unknown key 'stopon'", "stop_on"),
    ("for_each: {region: [a], zone: ¦[b]}", "wrong-value", "exactly one variable, and 'region' is it", ""),
    ("for_each: ¦[a, b]", "wrong-value", "{NAME: VALUES}", ""),
    ("for_each: ¦'${errors.labels}'", "wrong-value", "{NAME: VALUES}", ""),
    ("for_each: ¦{batch: 2}", "wrong-value", "{NAME: VALUES}", ""),
    ("for_each: {region: [a], batch: ¦one}", "wrong-value", "a whole number is expected here", ""),
    ("for_each: {region: [a], batch: ¦0}", "wrong-value", "at least 1", ""),
    ("for_each: {region: ¦'${erors.labels}'}", "template", "no name 'erors'", "errors"),
    ("for_each: {region: ¦'${errors.labels'}", "template", "not closed", ""),
    ("for_each: {region: ¦5}", "wrong-value", "needs the values to run over", ""),
    ("for_each: {region: ¦[]}", "wrong-value", "no region to act on", ""),
    ("for_each: {errors: ¦[a]}", "duplicate-id", "'errors' is the id of a step or check", ""),
    ("for_each: {alert: ¦[a]}", "wrong-value", "cannot be the name of a variable", ""),
    ("for_each: {'a b': ¦[a]}", "wrong-value", "cannot be the name of a variable", ""),
    ("for_each: {region: [a], quorum: ¦-1}", "wrong-value", "at least 1", ""),
    ("for_each: {region: [a], quorum: ¦9}", "wrong-value", "9 of 1 can never be done", ""),
]

CAPTURE: list[Row] = [
    ("capture: ¦select 1", "wrong-value", "a mapping is expected here", ""),
    ("capture: {limit: ¦5}", "wrong-value", "write it in quotes", ""),
    ("capture: {limit: ¦''}", "wrong-value", "is empty", ""),
    ("capture: {limit: ¦'select ${leak.first.n}'}", "template", "is not filled", ""),
    ("capture: {'a b': ¦select 1}", "wrong-value", "captured.NAME", ""),
    ("undo: {sql: ¦'x {captured.limit}'}", "unknown-capture", "nothing is captured as 'limit'", ""),
    ("capture: {limit: select 1}\n  undo: {sql: ¦'x {captured.limt}'}", "unknown-capture", "as 'limt'", "limit"),
    ("capture: {limit: select 1}\n  postcondition: {check: ¦captured.limt > 3}", "condition", "no field 'limt'", "captured.limit"),
    ("capture: {limit: select 1}\n  precondition: ¦captured.limit > 3", "unknown-capture", "nothing is captured yet", ""),
]  # fmt: skip

GUARD: list[Row] = [
    ("guard: {rate: ¦1}", "wrong-value", "1 is not a rate such as 2/10m", ""),
    ("guard: {rate: ¦1/hour}", "wrong-value", "1h is", ""),
    ("guard: {rate: ¦1/10min}", "wrong-value", "10m is", ""),
    ("guard: {rate: ¦2/10}", "bare-number", "10 without a unit is 10s", ""),
    ("guard: {rat: ¦1/1h}", "unknown-guard", "no parameter or limit 'rat'", "rate"),
    ("guard: {rol: ¦[app]}", "unknown-guard", "no parameter or limit 'rol'", "role"),
    ("guard: {role: ¦[]}", "wrong-value", "can never run", ""),
    ("guard: {role: ¦'${leak.first.role}'}", "template", "can never run", ""),
    ("guard: {max_magnitude: ¦many}", "wrong-value", "max_magnitude is a number", ""),
    ("guard: {maxMagnitude: ¦-1}", "wrong-value", "max_magnitude is a number", ""),
    ("guard:¦", "wrong-value", "a mapping is expected here", ""),
    ("guard: ¦1/1h", "wrong-value", "a mapping is expected here", ""),
]

APPROVAL: list[Row] = [
    ("approval: {form: ¦oncall}", "unknown-key", "unknown key 'form'", "from"),
    ("approval: {peple: ¦2}", "unknown-key", "unknown key 'peple'", "people"),
    ("approval: {aprovers: ¦[dba]}", "unknown-key", "unknown key 'aprovers'", "approvers"),
    ("approval: ¦oncall", "wrong-value", "a mapping is expected here", ""),
    ("approval: {from: ¦''}", "wrong-value", "must not be empty", ""),
    ("approval: {from: ¦[a, b]}", "wrong-value", "a text is expected here", ""),
    ("approval: {people: ¦two}", "wrong-value", "a whole number is expected here", ""),
    ("approval: {people: ¦0}", "wrong-value", "at least 1", ""),
    ("approval: {expires: ¦5}", "bare-number", "5 without a unit is 5s", ""),
    ("approval: {expires: ¦10 min}", "wrong-value", "10m is", ""),
    ("approval: {expires: ¦'${vars.x}'}", "wrong-value", "templates are not filled here", ""),
    ("requires_approval: ¦maybe", "wrong-value", "true or false is expected here", ""),
    ("revert: {after: ¦24}", "bare-number", "24 without a unit is 24s", ""),
    ("revert: {after: ¦0}", "wrong-value", "more than 0", ""),
    ("revert: {after: ¦1 day}", "wrong-value", "1d is", ""),
    ("revert: ¦24h", "wrong-value", "a mapping is expected here", ""),
    ("revert: {after: 1h, ask: ¦''}", "wrong-value", "must not be empty", ""),
]

REVERSED: list[Row] = [
    ("undo: ¦nne", "wrong-value", "an undo is none, or a mapping", ""),
    ("undo: {typ: ¦job}", "unknown-key", "unknown key 'typ'", "type"),
    ("undo: {on: ¦[]}", "wrong-value", "at least 1", ""),
    ("undo: ¦[select 1]", "wrong-value", "a mapping is expected here", ""),
    ("needs: [¦errors]", "unknown-step", "checks are done before any remediation", ""),
    ("needs: [¦pge]", "unknown-step", "not a remediation", "page"),
    ("needs: ¦cap", "cycle", "'cap' needs itself", ""),
    ("to: ¦log", "idle-key", "only an escalate step has it", ""),
]

STEPS: list[tuple[str, str, str, str, str]] = [
    (TREE, "- {condition: errors.critical && leak.critical, then: [¦errors]}", "undefined-remediation", "it is a diagnostic", ""),
    (TREE, "- {condition: errors.critical && leak.critical, then: [cap, ¦cap]}", "repeated-step", "named twice", ""),
    (TREE, "- {condition: errors.critical && leak.critical, then: [¦5]}", "wrong-value", "write it in quotes", ""),
    (TREE, "- {when: ¦errors.critical, then: [cap]}", "unknown-key", "unknown key 'when'", "condition"),
    (TREE, "- {else: ¦true, then: [cap]}", "unknown-key", "unknown key 'else'", "otherwise"),
    (TREE, "- ¦cap", "wrong-value", "a mapping is expected here", ""),
    (TREE, "- {condition: \"errors.status == ¦'criticl'\", then: [cap]}", "condition", "no status is 'criticl'", "critical"),
    (TREE, "- {condition: \"diagnostics.errors.status != ¦'helthy'\", then: [cap]}", "condition", "no status is 'helthy'", "healthy"),
    (TREE, "- {otherwise: ¦errors.critical, then: [cap]}", "wrong-value", "true or false is expected here", ""),
    (VERIFY, "verify: {signals: [¦cap]}", "unknown-step", "is a remediation, not a diagnostic", ""),
    (VERIFY, "verify: {on_improved: ¦kep_and_page}", "wrong-value", "not one of the words", "keep_and_page"),
    (VERIFY, "verify: {every: ¦1h, within: 10m}", "verify-too-short", "looks once", ""),
    (VERIFY, "verify: {require: ¦5}", "wrong-value", "a condition, a comparison in PromQL or a check", ""),
    (VERIFY, "verify: ¦errors", "wrong-value", "a mapping is expected here", ""),
    (TRIGGERS, "triggers: ¦{type: manual}", "wrong-value", "a list is expected here", ""),
    (TRIGGERS, "triggers: [{type: alert, labels: {a: ¦1}}]", "wrong-value", "write it in quotes", ""),
    (ERRORS, "  query: ¦sum(x)", "unknown-key", "unknown key 'query'", "config"),
    (ERRORS, f"{ERRORS}\n  needs: [¦errors]", "cycle", "'errors' needs itself", ""),
    (ERRORS, f"{ERRORS}\n  needs: [¦cap]", "unknown-step", "not a diagnostic", ""),
    ("- id: cap", "- id: ¦cap it", "wrong-value", "begins with a letter or _", ""),
    ("- id: errors", "- id: ¦alert", "duplicate-id", "taken by the house", ""),
    ("{id: page, type: escalate}", "{id: page, type: escalate, guard: ¦{rate: 1/1h}}", "idle-key", "changes no system", ""),
    ("{id: page, type: escalate}", "{id: page, type: manual, for_each: ¦{region: [a]}}", "idle-key", "changes no system", ""),
]  # fmt: skip


def problems(text: str) -> list[Problem]:
    return [problem for item in compile_text(text, "a.yaml", WORDS) for problem in item.problems]


def test_the_good_one_is_good() -> None:
    assert problems(GOOD) == []


@pytest.mark.parametrize("row", [*FOR_EACH, *CAPTURE, *GUARD, *APPROVAL, *REVERSED], ids=lambda row: row[0])
def test_a_mistake_in_a_remediation(row: Row) -> None:
    written, rule, message, near = row
    # One that begins with undo stands for the good one.
    before = GOOD if "undo:" not in written else GOOD.replace(f"{UNDO}\n", "")
    after = UNDO if "undo:" not in written else ACTION
    _is_told(before, after, f"{after}\n  {written}", rule, message, near)


@pytest.mark.parametrize("row", STEPS, ids=lambda row: row[1])
def test_a_mistake_elsewhere(row: tuple[str, str, str, str, str]) -> None:
    old, new, rule, message, near = row
    _is_told(GOOD, old, new, rule, message, near)


def _is_told(base: str, old: str, new: str, rule: str, message: str, near: str) -> None:
    assert base.count(old) == 1, old
    text, place = marked(base.replace(old, new))
    found = [one for one in problems(text) if one.rule == rule]
    assert len(found) == 1, [str(one) for one in problems(text)]
    (problem,) = found
    assert message in problem.message
    assert (problem.line, problem.column) == place, str(problem)
    assert problem.nearest == (near or None)


@pytest.mark.parametrize(
    "written",
    [
        "for_each: {region: '${errors.critical.region}', batch: 2, stopOn: worse, quorum: 3}", "for_each: {zone: eu}",
        "for_each: {region: [a, b], quorum: 2}", "guard: {role: app, rate: 2/10m, max_magnitude: 3}",
        "guard: {rate: 1/h}", "approval: {from: oncall, expires: 300}", "revert: {after: 24h, ask: oncall}",
        "capture: {limit: 'select 1 where r = :role'}", "precondition: leak.first.status == 'open'",
        "precondition: alert.status == 'firing'", "precondition: errors.status != 'healthy'",
    ],
)  # fmt: skip
def test_what_is_no_mistake(written: str) -> None:
    assert problems(GOOD.replace(UNDO, f"{UNDO}\n  {written}")) == []

"""Every rule of lint on one broken document: the exact place, and what was found, expected, nearest."""

from __future__ import annotations

import pytest

from quell.errors import Problem
from quell.runbook.compile import compile_text
from quell.runbook.vocabulary import Vocabulary
from tests.runbook.marked import MARK, marked
from tests.runbook.words import WORDS

GOOD = """\
id: api-errors
name: The API fails
severity: P2
service: api
triggers:
- {type: alert, alert_name: ApiErrors, for: 30s}
diagnostics:
- id: errors
  type: prometheus_query
  config: {query: 'sum(rate(api_errors_total[2m]))'}
  interpret:
    healthy: value < 1
    warning: value >= 1
    critical: value >= 5
- id: deploy
  type: deployments
  config: {service: api}
  interpret: {critical: age <= 10m, warning: age <= 60m, healthy: age > 60m}
decision_tree:
- condition: errors.critical && deploy.critical
  then: [roll_back]
- otherwise: true
  then: [page]
remediations:
- id: roll_back
  type: automated
  action: {type: rollback, config: {service: api}}
  undo: none
- {id: page, type: escalate}
verify:
  signals: [trigger, errors]
  stable_for: 30s
  within: 5m
escalation: {primary: 'log'}
"""


def problems(text: str, words: Vocabulary = WORDS) -> list[Problem]:
    return [problem for item in compile_text(text, "a.yaml", words) for problem in item.problems]


def broken(old: str, new: str, base: str = GOOD) -> tuple[str, tuple[int, int]]:
    """The good document with one change; the mark in ``new`` is where the problem is expected."""
    assert base.count(old) == 1, old
    return marked(base.replace(old, new))


def test_the_good_one_is_good():
    assert problems(GOOD) == []


FORM = [
    ("unknown-key", "severity: P2", "severity: P2\nsevrity: ¦P2", "sevrity", {"found": "sevrity", "nearest": "severity"}),
    ("unknown-key", "    healthy: value < 1", "    healty: ¦value < 1", "diagnostics[0].interpret.healty", {"nearest": "healthy"}),
    ("missing-key", "id: api-errors\n", "¦", "id", {"expected": "id"}),
    ("wrong-value", "severity: P2", "severity: ¦P5", "severity", {"found": "'P5'"}),
    ("wrong-value", "type: escalate}", "type: ¦escalated}", "remediations[1].type", {"nearest": "escalate"}),
    ("wrong-value", "stable_for: 30s", "stable_for: ¦soon", "verify.stable_for", {"found": "'soon'"}),
    ("wrong-value", "id: errors", "id: ¦2errors", "diagnostics[0].id", {"found": "'2errors'"}),
    ("wrong-value", "then: [page]", "then: ¦[]", "decision_tree[1].then", {"found": "[]"}),
    ("wrong-value", "- otherwise: true\n", "- ¦description: nothing\n", "decision_tree[1]", {}),
]  # fmt: skip

NAMES = [
    ("unknown-check", "type: deployments", "type: ¦deployment", "diagnostics[1].type", {"found": "deployment", "nearest": "deployments"}),
    ("unknown-action", "type: rollback,", "type: ¦roll_back,", "remediations[0].action.type", {"nearest": "rollback"}),
    ("unknown-action", "  undo: none", "  undo: {type: ¦resume_deploys}", "remediations[0].undo.type", {"found": "resume_deploys"}),
    ("undefined-remediation", "then: [roll_back]", "then: [¦rollback]", "decision_tree[0].then[0]", {"found": "rollback", "nearest": "roll_back"}),
    ("duplicate-id", "- id: deploy\n", "- id: ¦errors\n", "diagnostics[1].id", {}),
    ("duplicate-id", "{id: page,", "{id: ¦errors,", "remediations[1].id", {}),
    ("unknown-step", "  config: {service: api}\n", "  config: {service: api}\n  needs: [¦errrors]\n", "diagnostics[1].needs[0]", {"nearest": "errors"}),
    ("unknown-step", "signals: [trigger, errors]", "signals: [trigger, ¦error]", "verify.signals[1]", {"nearest": "errors"}),
    ("unknown-step", "  undo: none", "  undo: none\n  needs: [¦hold]", "remediations[0].needs[0]", {"found": "hold"}),
    ("unknown-guard", "  undo: none", "  undo: none\n  guard: {max_replica: ¦3}", "remediations[0].guard.max_replica", {}),
    ("unmet-need", "  then: [roll_back]\n- otherwise", "  then: [¦roll_back]\n- otherwise", "decision_tree[0].then[0]", {}),
]  # fmt: skip

MEANING = [
    ("condition", "value >= 5", "¦valu >= 5", "diagnostics[0].interpret.critical", {"found": "valu", "nearest": "value"}),
    ("condition", "errors.critical && deploy.critical", "errors.critical && ¦deplo.critical", "decision_tree[0].condition", {"nearest": "deploy"}),
    ("condition", "errors.critical && deploy.critical", "errors.critical && deploy.ag¦_ == 1m", "decision_tree[0].condition", None),
    ("condition", "age <= 10m", "age <= ¦'10m'", "diagnostics[1].interpret.critical", None),
    ("condition", "value < 1", "¦value", "diagnostics[0].interpret.healthy", None),
    ("condition-syntax", "value >= 1\n", "value >= ¦\n", "diagnostics[0].interpret.warning", None),
    ("condition", "  undo: none", "  undo: none\n  precondition: '¦readycount > 0'", "remediations[0].precondition", {"nearest": "ready_count"}),
    ("condition", "  undo: none", "  undo: none\n  postcondition: {check: '¦fenced', within: 1m}", "remediations[0].postcondition.check", {"found": "fenced"}),
    ("condition", "  undo: none", "  undo: none\n  postcondition: ¦fenced", "remediations[0].postcondition", {"found": "fenced"}),
    ("condition", "  undo: none", "  undo: {unless: ¦nobody.started}", "remediations[0].undo.unless", {"found": "nobody.started"}),
    ("template", "rollback, config: {service: api}", "rollback, config: {service: api, to: ¦'${deploi.version}'}", "remediations[0].action.config.to", {"nearest": "deploy"}),
    ("parameter", "config: {query: 'sum(rate(api_errors_total[2m]))'}", "config: ¦{}", "diagnostics[0].config.query", {}),
]  # fmt: skip

REQUIRE = "  within: 5m"
"""What is required stands behind it."""

REQUIRED = [
    ("unknown-check", "{type: ¦prometheus_qery, query: up > 0}", ".type", {"found": "prometheus_qery", "nearest": "prometheus_query"}),
    ("parameter", "¦{type: prometheus_query, unit: percent}", ".config.query", {}),
    ("parameter", "{type: shell_command, config: ¦{timeout: 3s}, interpret: {healthy: exit_code == 0}}", ".config.command", {}),
    ("template", "¦'sum(rps{service=\"${alrt.service}\"}) > 5'", "", {"nearest": "alert"}),
    ("template", "{config: {query: ¦'sum(rps) > ${erors.value}'}}", ".config.query", {"nearest": "errors"}),
    ("template", "{query: ¦'sum(rps) > ${erors.value}'}", ".query", {"nearest": "errors"}),
    ("template-in-shell", "{type: shell_command, command: ¦'ab ${alert.service}', interpret: {healthy: exit_code == 0}}", ".command", {}),
    ("require-unread", "¦{type: shell_command, command: [ab]}", "", {"expected": "interpret: {healthy: CONDITION}"}),
    ("condition", "{type: shell_command, command: [ab], interpret: {healthy: ¦exitcode == 0}}", ".interpret.healthy", {"nearest": "exit_code"}),
    ("condition", "'¦erors.value > 5'", "", {"nearest": "errors"}),
    ("condition", "{condition: ¦erors.value > 5}", ".condition", {"nearest": "errors"}),
    ("condition-syntax", "errors.value >¦", "", None),
    ("unknown-key", "{query: up > 0, interpret: {helthy: ¦value > 0}}", ".interpret.helthy", {"nearest": "healthy"}),
    ("wrong-value", "¦{type: shell_command}", "", {}),
    ("wrong-value", "¦{condition: errors.value < 5, query: up > 0}", "", {}),
]  # fmt: skip

SHAPE = [
    ("unreachable", "- {id: page, type: escalate}", "- {id: page, type: escalate}\n- ¦{id: spare, type: escalate}", "remediations[2]", {}),
    ("unreachable", "- otherwise: true\n  then: [page]", "- otherwise: true\n  then: [page]\n- ¦condition: errors.warning\n  then: [page]", "decision_tree[2]", {}),
    ("verify-too-short", "within: 5m", "within: ¦1m", "verify.within", {"found": "1m", "expected": "at least 2m45s"}),
]  # fmt: skip

WARNINGS = [
    ("unread-critical", "errors.critical && deploy.critical\n", "errors.critical && deploy.status == 'warning'\n", "diagnostics[1].interpret.critical", {}),
    ("no-escalation", "escalation: {primary: 'log'}\n", "", "", {}),
    ("unread", "errors.critical && deploy.critical\n", "errors.critical\n", "diagnostics[1]", {}),
    ("hint", "sum(rate(api_errors_total[2m]))", "rate(api_errors_total[2m]) / rate(api_total[2m])", "diagnostics[0].config", {}),
    ("hint", "sum(rate(api_errors_total[2m]))", 'api_errors{job="api"}', "diagnostics[0].config", {}),
]  # fmt: skip


def _name(case: tuple) -> str:
    return f"{case[0]}-{case[3]}"


def _check(problem: Problem, rule: str, path: str, more: dict | None) -> None:
    assert (problem.rule, problem.path, problem.file) == (rule, path, "a.yaml"), problem
    for name, value in (more or {}).items():
        assert getattr(problem, name) == value, problem


@pytest.mark.parametrize("case", [*FORM, *NAMES, *MEANING, *SHAPE], ids=_name)
def test_errors(case):
    rule, old, new, path, more = case
    base = GOOD
    if rule == "unmet-need":
        base = base.replace("  undo: none\n- {id: page", "  undo: none\n  needs: [page]\n- {id: page")
    text, place = broken(old, new, base)
    (problem,) = [found for found in problems(text) if found.rule == rule]
    assert problem.severity == "error"
    _check(problem, rule, path, more)
    assert (problem.line, problem.column) == place or more is None, (str(problem), place)
    if more is None:  # The language decides where inside the condition; never outside of it.
        assert problem.line == place[0]


@pytest.mark.parametrize("case", REQUIRED, ids=lambda case: f"{case[0]}-{case[1]}")
def test_what_a_verification_requires(case):
    rule, new, path, more = case
    text, place = broken(REQUIRE, f"{REQUIRE}\n  require: {new}")
    (problem,) = problems(text)
    _check(problem, rule, f"verify.require{path}", more)
    assert problem.severity == "error"
    assert problem.line == place[0]
    assert problem.column == place[1] or more is None, str(problem)


@pytest.mark.parametrize("config", ["sum(rps)", "{query: sum(rps)}", "{config: {query: sum(rps)}}"])
def test_a_required_query_that_compares_nothing_is_always_true(config):
    (problem,) = problems(GOOD.replace(REQUIRE, f"{REQUIRE}\n  require: {config}"))
    assert (problem.rule, problem.severity, problem.line) == (
        "hint",
        "warning",
        GOOD[: GOOD.index(REQUIRE)].count("\n") + 2,
    )


@pytest.mark.parametrize(
    "require",
    [
        "errors.value < 100", "sum(api:rps) > 5", "'up{instance=\"a.b:90\"} > 0'", "'sum(rps) > ${errors.value}'",
        "{query: sum(rps) > 0.5}", "{type: shell_command, command: [ab], interpret: {healthy: exit_code == 0}}",
        "{query: sum(rps), interpret: {healthy: value > 5}}", "{condition: errors.value < 100}",
    ],
)  # fmt: skip
def test_what_may_be_required(require):
    assert problems(GOOD.replace(REQUIRE, f"{REQUIRE}\n  require: {require}")) == []


def test_what_an_undo_inherits_is_told_once():
    text = GOOD.replace("rollback, config: {service: api}}", "rollback, config: {to: '${deploi.version}'}}")
    text = text.replace("service: api\n", "", 1).replace("  undo: none", "  undo: {config: {fast: true}}")
    found = [(problem.rule, problem.path) for problem in problems(text) if problem.rule == "template"]
    assert found == [("template", "remediations[0].action.config.to")]


@pytest.mark.parametrize("case", WARNINGS, ids=_name)
def test_warnings(case):
    rule, old, new, path, more = case
    assert GOOD.count(old) == 1
    text = GOOD.replace(old, new)
    if rule == "unread":
        text = text.replace("  interpret: {critical: age <= 10m, warning: age <= 60m, healthy: age > 60m}\n", "")
    (problem,) = problems(text)
    assert problem.severity == "warning"
    _check(problem, rule, path, more)
    assert problem.line > 0


def test_a_template_in_a_shell_line():
    text, place = broken(
        "  type: deployments\n  config: {service: api}\n",
        "  type: shell_command\n  config:\n    command: ¦'kubectl rollout history ${alert.service}'\n",
    )
    found = [problem for problem in problems(text) if problem.rule == "template-in-shell"]
    (problem,) = found
    assert (problem.line, problem.column) == place
    assert problem.path == "diagnostics[1].config.command"
    assert problem.expected


@pytest.mark.parametrize(
    ("argv", "at"),
    [
        ("[sh, -c, 'echo ${alert.service}']", 2),
        ("[sudo, /bin/bash, -euc, 'echo ${alert.service}', x]", 3),
        ("[python3.11, -I, -c, 'print(\"${alert.service}\")']", 3),
        ("[sh, -c, 'echo \"$1\"', x, '${alert.service}']", None),
        ("[grep, -c, '${alert.service}', file]", None),
    ],
)
def test_a_template_in_the_code_of_an_interpreter(argv, at):
    """An argv that starts a shell is a shell line; what follows the code is an argument again."""
    text = GOOD.replace(
        "  type: deployments\n  config: {service: api}\n", f"  type: shell_command\n  config: {{command: {argv}}}\n"
    )
    found = [problem.path for problem in problems(text) if problem.rule == "template-in-shell"]
    assert found == ([] if at is None else [f"diagnostics[1].config.command[{at}]"])


def test_a_template_in_an_argument_list_is_fine():
    text = GOOD.replace(
        "  type: deployments\n  config: {service: api}\n",
        "  type: shell_command\n  config: {command: [kubectl, history, '${alert.service}']}\n",
    )
    assert problems(text) == []


def test_checks_that_wait_for_one_another():
    text = GOOD.replace("  type: prometheus_query\n", "  type: prometheus_query\n  needs: [deploy]\n").replace(
        "  type: deployments\n", "  type: deployments\n  needs: [errors]\n"
    )
    found = [problem for problem in problems(text) if problem.rule == "cycle"]
    assert [(problem.line, problem.path) for problem in found] == [
        (10, "diagnostics[0].needs"), (18, "diagnostics[1].needs"),
    ]  # fmt: skip


def test_a_service_outside_the_catalogue_is_a_warning():
    words = Vocabulary(WORDS.checks, WORDS.actions, services=frozenset({"apis", "web"}))
    (problem,) = problems(GOOD, words)
    assert (problem.rule, problem.severity, problem.nearest, problem.line) == ("unknown-service", "warning", "apis", 4)


def test_five_undefined_steps_are_all_told():
    names = ["widen_pool", "call_network", "open_breaker", "tell_partner", "keep_samples"]
    entries = "".join(f"- {{condition: errors.critical, then: [roll_back, {name}]}}\n" for name in names)
    text = GOOD.replace("- otherwise: true\n", entries + "- otherwise: true\n")
    found = [problem for problem in problems(text) if problem.rule == "undefined-remediation"]
    assert [problem.found for problem in found] == names
    assert [problem.line for problem in found] == [22, 23, 24, 25, 26]
    assert {problem.column for problem in found} == {len("- {condition: errors.critical, then: [roll_back, ") + 1}


def test_all_problems_at_once_in_the_order_of_the_text():
    text = GOOD
    for old, new in (
        ("value >= 5", "valu >= 5"), ("type: deployments", "type: deploymints"), ("then: [roll_back]", "then: [roll]"),
        ("errors.critical && deploy.critical", "errrors.critical"), ("within: 5m", "within: 30s"),
        ("escalation: {primary: 'log'}\n", ""),
    ):  # fmt: skip
        text = text.replace(old, new)
    found = problems(text)
    rules = [problem.rule for problem in found if problem.severity == "error"]
    assert rules == [
        "condition", "unknown-check", "condition", "undefined-remediation", "unreachable", "verify-too-short",
    ]  # fmt: skip
    assert [problem.line for problem in found] == sorted(problem.line for problem in found)


def test_problems_of_form_come_all_at_once_too():
    text = (
        GOOD.replace("severity: P2", "severity: P9")
        .replace("within: 5m", "within: never")
        .replace("id: page", "it: page")
    )
    assert {problem.path for problem in problems(text)} == {
        "severity", "verify.within", "remediations[1].it", "remediations[1].id",
    }  # fmt: skip


def test_camel_case_is_told_in_camel_case():
    text = GOOD.replace("decision_tree", "decisionTree").replace("stable_for", "stableFor")
    assert problems(text) == []
    (problem,) = problems(text.replace("then: [page]", "then: [page]\n  when: x"))
    assert problem.path == "decisionTree[1].when"
    found = problems(text.replace("then: [roll_back]", "then: [rollback]"))
    assert found[0].path == "decisionTree[0].then[0]"


def test_columns_inside_quoted_and_json_conditions():
    quoted, place = broken("value >= 5", "'¦valu >= 5'")
    (problem,) = problems(quoted)
    assert (problem.line, problem.column) == place
    folded = GOOD.replace("value >= 5", ">\n      valu\n      >= 5")
    (problem,) = problems(folded)
    assert problem.line == 14  # where the text begins: columns inside a folded text are not those of the file


def test_a_thousand_runbooks():
    assert MARK not in GOOD
    for number in range(1000):
        assert problems(GOOD.replace("api-errors", f"api-errors-{number}")) == []

"""Commands that guardrails refuse wherever they run: told by lint at the word to blame, as far as a command is literal."""

from __future__ import annotations

from pathlib import Path

import pytest

from quell.errors import Problem
from quell.registry import Registry
from quell.runbook.compile import Compiled, compile_text
from quell.settings import parse_settings
from quell.vocabulary_of import vocabulary_of
from tests.runbook.marked import marked

RAILS = """
guardrails:
  commands:
  - {run: kubectl, args: [get, pods, '/[a-z0-9-]+/'], flags: {-n: '/[a-z]+/'}}
  - {run: /opt/fix, args: ['/[a-z]+/'], env: {MODE: fast}}
  - {line: uptime | cut -c1-9}
  overrides:
  - environments: [staging]
    commands: [{run: rm, args: ['/tmp/x']}]
"""
HEAD = "id: a\nservice: api\ntriggers: [{type: manual}]\nescalation: {primary: log}\n"


def compiled(text: str, rails: str = RAILS) -> list[Compiled]:
    guardrails = parse_settings(rails, "quell.yaml", Path("/srv")).guardrails
    return compile_text(text, "a.yaml", vocabulary_of(Registry(), misfit=guardrails.misfit))


def problems(text: str, rails: str = RAILS) -> list[Problem]:
    return [one for item in compiled(text, rails) for one in item.problems if one.severity == "error"]


def check(written: str) -> str:
    return f"{HEAD}diagnostics:\n- {{id: c, type: shell_command, {written}}}\n"


def action(written: str, more: str = "") -> str:
    step = f"{{id: fix, type: automated, action: {{type: run_script, config: {{{written}}}}}{more}}}"
    return f"{HEAD}decision_tree: [{{otherwise: true, then: [fix]}}]\nremediations:\n- {step}\n"


REFUSED = [
    (
        check("config: {command: [kubectl, get, pods, pay-1, ¦'--kubeconfig=/evil']}"),
        "diagnostics[0].config.command[4]",
    ),
    (check("config: {command: [kubectl, ¦delete, pods, pay-1]}"), "diagnostics[0].config.command[1]"),
    (check("config: {command: [¦kubect, get, pods, pay-1]}"), "diagnostics[0].config.command[0]"),
    (check("config: ¦{command: [kubectl, get, pods]}"), "diagnostics[0].config"),
    (check("config: {command: ¦uptime | cut -c1-10}"), "diagnostics[0].config.command"),
    (check("config: ¦{command: [/opt/fix, a], env: {PATH: /evil}}"), "diagnostics[0].config"),
    (check("config: {command: [¦find, '${alert.service}']}"), "diagnostics[0].config.command[0]"),
    (check("config: {command: [kubectl, ¦exec, '${alert.service}']}"), "diagnostics[0].config.command[1]"),
    (action("command: [/opt/fix], args: [¦A]"), "remediations[0].action.config.args[0]"),
    (action("script: ¦/opt/fixx"), "remediations[0].action.config.script"),
    (action("command: [/opt/fix, a]", ", undo: {command: [/opt/fix, ¦--all]}"), "remediations[0].undo.command[1]"),
]


@pytest.mark.parametrize(("text", "path"), REFUSED, ids=[path for _, path in REFUSED])
def test_a_command_that_may_run_nowhere_is_told_at_the_word_to_blame(text: str, path: str) -> None:
    text, place = marked(text)
    found = problems(text)
    assert [(one.rule, one.path, (one.line, one.column)) for one in found] == [("command", path, place)]
    assert "the guardrails let it run nowhere" in found[0].message
    assert found[0].expected


@pytest.mark.parametrize(
    "text",
    [
        check("config: {command: [kubectl, get, pods, pay-1, -n, shop]}"),
        check("config: {command: [kubectl, get, pods, '${alert.service}', --nobody-knows]}"),
        check("config: {command: [kubectl, '${alert.service}']}"),
        check("config: {command: ['${alert.service}']}"),
        check("config: {command: uptime | cut -c1-9}"),
        check("config: {command: [/opt/fix, a], env: {MODE: '${alert.service}'}}"),
        check("config: {command: [rm, /tmp/x]}"),
        action("command: [/opt/fix, a], env: {MODE: fast}"),
        action("sql: select 1"),
    ],
)
def test_what_may_run_somewhere_or_is_not_known_yet_is_not_told(text: str) -> None:
    assert problems(text) == []


def test_without_shapes_any_command_may_run() -> None:
    rails = "guardrails: {overrides: [{environments: [staging], commands: []}]}"
    assert problems(check("config: {command: [rm, -r, /]}"), rails) == []
    assert len(problems(check("config: {command: [rm, -r, /]}"), "guardrails: {commands: []}")) == 1


def test_a_runbook_with_a_command_that_is_refused_still_diagnoses() -> None:
    [one] = compiled(check("config: {command: [rm, -r, /]}"))
    assert one.runnable
    assert one.errors

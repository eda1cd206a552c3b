"""``quell lint``: files, directories, stdin; text and JSON; exit codes. With the plug-ins that are installed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.terminal import ROOT, quell

EXAMPLES = ROOT / "examples"

GOOD = """\
id: api-errors
service: api
triggers: [{type: manual}]
diagnostics:
- id: errors
  type: http_check
  config: {url: 'http://127.0.0.1:8080/health'}
  interpret: {critical: any_unreachable, warning: any_slow > 1s, healthy: all_healthy}
decision_tree:
- {condition: errors.critical, then: [page]}
remediations:
- {id: page, type: escalate}
verify: {signals: [errors], stable_for: 30s, within: 5m}
escalation: {primary: log}
"""
WARNS = GOOD.replace("escalation: {primary: log}\n", "")
FAILS = GOOD.replace("then: [page]", "then: [pgae]")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "fails.yml").write_text(FAILS.replace("api-errors", "fails"))
    (tmp_path / "deep" / "warns.json").write_text(json.dumps({"triggers": [{"type": "manual"}], "id": "warns"}))
    (tmp_path / "compose.yaml").write_text("services: {web: {image: x}}\n")
    (tmp_path / "chart.yaml").write_text("a: {{ .Values.x }}\n")
    (tmp_path / "notes.txt").write_text("triggers: x\n")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "hidden.yaml").write_text(FAILS)
    return tmp_path


def test_the_examples_are_clean():
    said = quell("lint", "--strict", EXAMPLES)
    assert said.code == 0, said.out
    assert "no problems" in said.out


def test_good_is_0(tmp_path):
    (tmp_path / "a.yaml").write_text(GOOD)
    said = quell("lint", "a.yaml", cwd=tmp_path)
    assert (said.code, said.out, said.err) == (0, "1 file, no problems\n", "")


def test_a_problem_as_text(tmp_path):
    (tmp_path / "a.yaml").write_text(FAILS)
    said = quell("lint", "a.yaml", cwd=tmp_path)
    assert said.code == 1
    assert said.out.splitlines()[:5] == [
        "a.yaml:10:39: error: remediation 'pgae' is not defined [undefined-remediation]",
        "    10 | - {condition: errors.critical, then: [pgae]}",
        "       | " + " " * 38 + "^",
        "    at decision_tree[0].then[0]",
        "    found pgae",
    ]
    assert "    nearest 'page'" in said.out
    assert said.out.endswith("2 errors in 1 file\n")


def test_warnings_are_0_and_strict_1(tmp_path):
    (tmp_path / "a.yaml").write_text(WARNS)
    said = quell("lint", "a.yaml", cwd=tmp_path)
    assert said.code == 0
    assert "a.yaml:1:1: warning: no escalation" in said.out
    assert said.out.endswith("1 warning in 1 file\n")
    assert quell("lint", "--strict", "a.yaml", cwd=tmp_path).code == 1


def test_a_directory_is_searched_for_runbooks(folder):
    said = quell("lint", "--json", folder)
    assert said.code == 1
    assert said.json["counts"]["files"] == 3
    assert {Path(problem["file"]).name for problem in said.json["problems"]} == {"fails.yml", "warns.json"}


def test_what_is_named_is_looked_at(folder):
    said = quell("lint", "--json", "compose.yaml", "notes.txt", cwd=folder)
    assert said.code == 1
    rules = {problem["file"]: problem["rule"] for problem in said.json["problems"]}
    assert rules["compose.yaml"] == "unknown-dialect"
    assert rules["notes.txt"] != "unknown-dialect"


def test_json_says_everything(tmp_path):
    (tmp_path / "a.yaml").write_text(FAILS)
    said = quell("lint", "--json", "a.yaml", cwd=tmp_path)
    assert said.json["ok"] is False
    assert said.json["counts"] == {"files": 1, "runbooks": 1, "errors": 2, "warnings": 0}
    assert said.json["problems"][0] == {
        "message": "remediation 'pgae' is not defined", "rule": "undefined-remediation", "file": "a.yaml", "line": 10,
        "column": 39, "path": "decision_tree[0].then[0]", "found": "pgae", "expected": None, "nearest": "page",
        "severity": "error",
    }  # fmt: skip


@pytest.mark.parametrize(("text", "code"), [(GOOD, 0), (FAILS, 1), ("", 1), ("a: [", 1), (b"a: \xff", 1)])
def test_stdin(text, code):
    said = quell("lint", "--json", "-", stdin=text)
    assert said.code == code
    assert all(problem["file"] == "<stdin>" and problem["line"] for problem in said.json["problems"])


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "large.yaml").write_text("a: " + "x" * 1_100_000)
    (tmp_path / "binary.yaml").write_bytes(b"a: 1\nb: \xff\xfe")
    (tmp_path / "empty.yaml").write_text("")
    said = quell("lint", "--json", "gone.yaml", "large.yaml", "binary.yaml", "empty.yaml", cwd=tmp_path)
    assert said.code == 1
    found = [
        (problem["file"], problem["rule"], problem["line"], problem["column"]) for problem in said.json["problems"]
    ]
    assert found == [
        ("gone.yaml", "no-file", 0, 0), ("large.yaml", "too-large", 0, 0), ("binary.yaml", "syntax", 2, 4),
        ("empty.yaml", "empty", 1, 1),
    ]  # fmt: skip


def test_two_files_with_one_id(tmp_path):
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yaml").write_text(GOOD)
    said = quell("lint", "--json", ".", cwd=tmp_path)
    (problem,) = said.json["problems"]
    assert (problem["rule"], problem["file"]) == ("duplicate-runbook", "b.yaml")


def test_a_file_named_twice_is_read_once(tmp_path):
    (tmp_path / "a.yaml").write_text(GOOD)
    said = quell("lint", "--json", "a.yaml", "a.yaml", ".", cwd=tmp_path)
    assert (said.code, said.json["counts"]["files"]) == (0, 1)


def test_several_runbooks_in_one_file(tmp_path):
    (tmp_path / "a.yaml").write_text(f"{GOOD}---\n{FAILS.replace('api-errors', 'other')}")
    said = quell("lint", "--json", "a.yaml", cwd=tmp_path)
    assert said.json["counts"]["runbooks"] == 2
    assert {problem["line"] for problem in said.json["problems"]} == {25, 27}


def test_an_empty_directory_is_clean(tmp_path):
    said = quell("lint", tmp_path)
    assert (said.code, said.out) == (0, "0 files, no problems\n")


def test_connections_are_held_against_the_configuration_that_is_named(tmp_path):
    (tmp_path / "a.yaml").write_text(
        GOOD.replace(
            "type: http_check\n  config: {url: 'http://127.0.0.1:8080/health'}",
            "type: redis\n  config: {connection: cahce}",
        ).replace("any_unreachable, warning: any_slow > 1s, healthy: all_healthy", "loading, healthy: '!loading'")
    )
    assert quell("lint", "a.yaml", cwd=tmp_path).code == 0
    (tmp_path / "site.yaml").write_text("connections: {cache: {type: redis, url: 'redis://127.0.0.1'}}\n")
    said = quell("lint", "--config", "site.yaml", "--json", "a.yaml", cwd=tmp_path)
    assert said.code == 1
    (problem,) = said.json["problems"]
    assert (problem["rule"], problem["path"], problem["line"]) == (
        "unknown-connection",
        "diagnostics[0].config.connection",
        7,
    )
    assert (problem["found"], problem["nearest"], problem["severity"]) == ("cahce", "cache", "error")


def test_commands_are_held_against_the_shapes_of_the_configuration(tmp_path):
    checks = "type: shell_command\n  config: {command: [kubectl, get, pods, --kubeconfig=/evil]}"
    (tmp_path / "a.yaml").write_text(
        GOOD.replace("type: http_check\n  config: {url: 'http://127.0.0.1:8080/health'}", checks).replace(
            "any_unreachable, warning: any_slow > 1s, healthy: all_healthy", "exit_code > 0, healthy: exit_code == 0"
        )
    )
    assert quell("lint", "a.yaml", cwd=tmp_path).code == 0
    shape = "{run: kubectl, args: [get, pods], flags: {-n: shop, '--context': test}}"
    (tmp_path / "site.yaml").write_text(f"guardrails: {{commands: [{shape}]}}\n")
    said = quell("lint", "--config", "site.yaml", "--json", "a.yaml", cwd=tmp_path)
    assert said.code == 1
    (problem,) = said.json["problems"]
    assert (problem["rule"], problem["path"]) == ("command", "diagnostics[0].config.command[3]")
    assert (problem["found"], problem["expected"]) == ("'--kubeconfig=/evil'", "one of -n, --context")


def test_an_address_that_nobody_serves_is_an_error_with_a_configuration(tmp_path):
    (tmp_path / "a.yaml").write_text(GOOD.replace("primary: log", "primary: '#incidents-paymnt'"))
    (tmp_path / "site.yaml").write_text(
        "connections: {incidents-payment: {type: slack, url: 'https://slack.example/x'}, sre: {type: slack}}\n"
    )
    assert quell("lint", "--strict", "a.yaml", cwd=tmp_path).code == 0
    said = quell("lint", "--json", "--config", "site.yaml", "a.yaml", cwd=tmp_path)
    (problem,) = json.loads(said.out)["problems"]
    assert (said.code, problem["rule"], problem["nearest"]) == (1, "unknown-address", "#incidents-payment")


def test_two_files_that_ask_for_the_same(tmp_path):
    alert = GOOD.replace("{type: manual}", "{type: alert, alert_name: Down, severity: critical}")
    (tmp_path / "a.yaml").write_text(alert)
    (tmp_path / "b.yaml").write_text(alert.replace("api-errors", "b-errors").replace("critical}]", "P1}]"))
    said = quell("lint", "a.yaml", "b.yaml", cwd=tmp_path)
    assert said.code == 0
    assert "b.yaml:3:12: warning: the same alerts mean runbook 'api-errors' (a.yaml:1)" in said.out
    assert said.out.endswith("1 warning in 2 files\n")
    (tmp_path / "b.yaml").write_text(f"priority: 1\n{(tmp_path / 'b.yaml').read_text()}")
    assert quell("lint", "--strict", "a.yaml", "b.yaml", cwd=tmp_path).code == 0

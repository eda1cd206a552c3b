"""`quell run`: one runbook, started as a person starts it."""

import json
import os
import pty
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import read_until, run_quell, start_quell, times_done, told, write_runbook
from tests.servers.process import wait_until

APPROVAL = {"requires_approval": True}


def test_nothing_to_do_when_every_check_is_healthy(tmp_path: Path) -> None:
    book = write_runbook(tmp_path, state="0")
    done = run_quell(tmp_path, "run", str(book))
    assert done.returncode == 0, done.stderr
    assert "value 0 == 0 → true" in done.stdout
    assert times_done(tmp_path) == 0


def test_the_fault_is_repaired_and_verified(tmp_path: Path) -> None:
    book = write_runbook(tmp_path)
    done = run_quell(tmp_path, "run", str(book))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "state").read_text() == "0\n"
    assert times_done(tmp_path) == 1
    labels = re.findall(r"^ +[0-9.]+ s . (\S+)", done.stdout, re.MULTILINE)
    assert labels == ["opened", "run", "level", "decide", "repair", "repair", "verify", "verify", "resolved", "ended"]
    assert "level.critical → true" in done.stdout
    assert "recovered: level: critical → healthy" in done.stdout


def test_a_flag_is_set(tmp_path: Path) -> None:
    flags = tmp_path / "flags.json"
    flags.write_text('{"breaker": "closed"}')
    check = {"id": "level", "type": "shell_command", "config": {"command": ["grep", "-c", "closed", str(flags)]},
             "interpret": {"healthy": "value == 0", "critical": "value > 0"}}  # fmt: skip
    action = {"type": "set_flag", "config": {"flag": "breaker", "value": "open", "file": str(flags)}}
    book = write_runbook(tmp_path, diagnostics=[check], step={"action": action})
    done = run_quell(tmp_path, "run", str(book))
    assert json.loads(flags.read_text()) == {"breaker": "open"}, done.stdout
    assert '"closed" → "open"' in done.stdout


def test_what_does_not_help_is_escalated(tmp_path: Path) -> None:
    book = write_runbook(tmp_path, fix="true")
    done = run_quell(tmp_path, "run", str(book), "--json")
    assert done.returncode == 2
    document = told(done)
    assert document["outcome"] == "escalated"
    assert document["verification"][0]["verdict"] == "unchanged"
    assert document["escalated_to"] == ["log:oncall"]
    assert any(event["kind"] == "notified" for event in document["timeline"]), "it ended before the page was out"


def test_without_a_terminal_the_answer_is_no(tmp_path: Path) -> None:
    book = write_runbook(tmp_path, step=APPROVAL)
    done = run_quell(tmp_path, "run", str(book))
    assert done.returncode == 2
    assert times_done(tmp_path) == 0
    assert "denied by quell: nobody can answer: there is no terminal and no --approve" in done.stdout


def test_approve_says_yes(tmp_path: Path) -> None:
    book = write_runbook(tmp_path, step=APPROVAL)
    done = run_quell(tmp_path, "run", str(book), "--approve", "--json")
    assert done.returncode == 0, done.stderr
    assert times_done(tmp_path) == 1
    assert [one["by"] for one in told(done)["approvals"]] == ["ann"]


def test_approve_cannot_be_two_people(tmp_path: Path) -> None:
    book = write_runbook(tmp_path, step={**APPROVAL, "approval": {"people": 2}})
    done = run_quell(tmp_path, "run", str(book), "--approve")
    assert done.returncode == 2
    assert times_done(tmp_path) == 0
    assert "it needs 2 people" in done.stdout


@pytest.mark.parametrize(("typed", "code", "happened"), [("a\n", 0, 1), ("d not now\n", 2, 0), ("t\n", 2, 0)])
def test_at_a_terminal_the_person_is_asked(tmp_path: Path, typed: str, code: int, happened: int) -> None:
    book = write_runbook(tmp_path, step=APPROVAL)
    leader, follower = pty.openpty()
    process = start_quell(
        tmp_path, "run", str(book), stdin=follower, stdout=follower, stderr=follower, start_new_session=True
    )
    os.close(follower)
    seen = read_until(leader, b"[t]ake over")
    order = [seen.index(word) for word in (b"echo 0", b"targets", b"because", b"risk", b"undo", b"left, then a person")]
    assert order == sorted(order), seen.decode()
    os.write(leader, typed.encode())
    rest = read_until(leader, None)
    assert process.wait(30) == code, (seen + rest).decode()
    os.close(leader)
    assert times_done(tmp_path) == happened


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    book = write_runbook(tmp_path, step=APPROVAL)
    before = sorted(path.name for path in tmp_path.iterdir())
    done = run_quell(tmp_path, "run", str(book), "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    assert told(done)["outcome"] == "dry_run"
    assert "echo 0 > state" in told(done)["reason"]
    assert (tmp_path / "state").read_text() == "1"
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_dry_run_pages_nobody(tmp_path: Path) -> None:
    tree = [{"condition": "level.critical", "then": ["page"]}]
    book = write_runbook(tmp_path, decision_tree=tree, escalation={"primary": "#payments"},
                         remediations=[{"id": "page", "type": "escalate"}])  # fmt: skip
    document = told(run_quell(tmp_path, "run", str(book), "--dry-run", "--json"))
    assert document["outcome"] == "dry_run"
    assert document["reason"].startswith("would page #payments: ")
    assert document["escalated_to"] == []


def test_a_broken_file_is_told_with_every_problem(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("id: bad\ntriggers: [{type: manual}]\ndiagnostics: 3\nseverty: P1\n")
    done = run_quell(tmp_path, "run", "bad.yaml")
    assert done.returncode == 1
    assert "bad.yaml:3:" in done.stderr
    assert "nearest 'severity'" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["missing.yaml"], "missing.yaml"),
        (["fix.json", "--id", "fixx"], "did you mean 'fix'?"),
        (["fix.json", "--set", "limitt=3"], "nearest 'limit'"),
        (["fix.json", "--set", "limit=many"], "expected a number"),
        (["fix.json", "--set", "limit"], "expected NAME=VALUE"),
    ],
)
def test_mistakes_are_told_in_words(tmp_path: Path, words: list[str], says: str) -> None:
    write_runbook(tmp_path, variables={"limit": 3, "region": "eu"})
    done = run_quell(tmp_path, "run", *words)
    assert done.returncode == 1
    assert says in done.stderr
    assert times_done(tmp_path) == 0


def test_variables_are_of_the_kind_of_their_default(tmp_path: Path) -> None:
    check = {"id": "level", "type": "shell_command", "config": {"command": ["cat", str(tmp_path / "state")]},
             "interpret": {"healthy": "value < limit && region == '7'", "critical": "value >= limit"}}  # fmt: skip
    book = write_runbook(tmp_path, state="5", diagnostics=[check], variables={"limit": 3, "region": "eu"})
    done = run_quell(tmp_path, "run", str(book), "--set", "limit=9", "--set", "region=7")
    assert done.returncode == 0, done.stdout + done.stderr
    assert times_done(tmp_path) == 0


@pytest.mark.parametrize(
    ("command", "fact", "error_class", "says"),
    [
        (["/bin/sleep", "60"], "value", "timeout", "no answer within"),
        (["/bin/sh", "-c", "kill -9 $$"], "value", "failed", "SIGKILL"),
        (["/nowhere/program"], "value", "missing", "/nowhere/program"),
        (["/usr/bin/yes"], "exit_code", "too_large", "limit of its output"),
    ],
)
def test_a_check_that_cannot_look_is_an_error_beside_the_others(
    tmp_path: Path, command: list[str], fact: str, error_class: str, says: str
) -> None:
    sick = {"id": "sick", "type": "shell_command", "timeout": "1s", "config": {"command": command},
            "interpret": {"healthy": f"{fact} == 0", "critical": f"{fact} > 0"}}  # fmt: skip
    well = {"id": "level", "type": "shell_command", "config": {"command": ["cat", str(tmp_path / "state")]},
            "interpret": {"healthy": "value == 0", "critical": "value > 0"}}  # fmt: skip
    book = write_runbook(tmp_path, state="0", diagnostics=[sick, well])
    document = told(run_quell(tmp_path, "run", str(book), "--json"))
    findings = {one["check"]: one for one in document["findings"]}
    assert findings["level"]["status"] == "healthy"
    assert findings["sick"]["status"] == "error", findings["sick"]
    assert findings["sick"]["error_class"] == error_class
    assert says in findings["sick"]["message"]
    assert document["outcome"] == "escalated", "unknown is not healthy"


def test_binary_output_is_no_number(tmp_path: Path) -> None:
    check = {"id": "level", "type": "shell_command", "config": {"command": ["head", "-c", "300", "/dev/urandom"]},
             "interpret": {"healthy": "value == 0", "critical": "value > 0"}}  # fmt: skip
    book = write_runbook(tmp_path, diagnostics=[check])
    done = run_quell(tmp_path, "run", str(book))
    assert done.returncode == 2
    assert "\x1b" not in done.stdout


def test_the_document_tells_the_whole_run(tmp_path: Path) -> None:
    document = told(run_quell(tmp_path, "run", str(write_runbook(tmp_path)), "--json"))
    assert (document["runbook"], document["outcome"], document["status"]) == ("fix", "resolved", "resolved")
    assert [one["check"] for one in document["findings"]] == ["level"]
    assert document["decisions"][0]["explanations"][0]["holds"] is True
    [action] = document["actions"]
    assert (action["action"], action["result"]) == ("run_script", "done")
    assert [event["seq"] for event in document["timeline"]] == list(range(1, len(document["timeline"]) + 1))
    seconds: dict[str, Any] = document["durations"]
    parts = ("diagnose_s", "decide_s", "act_s", "verify_s")
    assert all(seconds[part] >= 0 for part in parts)
    assert sum(seconds[part] for part in parts) <= seconds["total_s"] + 0.01


def test_a_run_that_is_ended_leaves_no_database(tmp_path: Path) -> None:
    book = write_runbook(tmp_path, fix="sleep 30")
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    log = tmp_path / "log"
    with log.open("wb") as said:
        process = start_quell(tmp_path, "run", str(book), env={"TMPDIR": str(scratch)}, stdout=said, stderr=said)
    try:
        wait_until(lambda: times_done(tmp_path) == 1, "the action has begun")
        assert list(scratch.iterdir())
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGTERM
    assert "cut off while this was being done" in log.read_text()
    assert "Traceback" not in log.read_text()
    assert list(scratch.iterdir()) == []

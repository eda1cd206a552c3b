"""``quell route test``: by files alone, from a file and from options, and of a running server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.command import run_quell, served, told, write_runbook

SITE = """
runbooks: [high.yaml, any.yaml]
services: {payment: {}}
sources: {prod: {type: alertmanager}}
"""
BOOK = "id: {id}\npriority: {priority}\ntriggers: [{{type: alert, {asked}}}]\nescalation: {{primary: 'log:'}}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "quell.yaml").write_text(SITE)
    high = "matchers: ['alertname=~\"High.*\"', 'env=~\"prod|stage\"'], severity: [critical, P2], source: prod"
    (tmp_path / "high.yaml").write_text(BOOK.format(id="high", priority=0, asked=high))
    (tmp_path / "any.yaml").write_text(BOOK.format(id="any", priority=10, asked="severity: critical"))
    return tmp_path


LABELS = ("--label", "alertname=HighLatency", "--label", "env=prod", "--label", "service=payment")


def test_the_runbook_and_why(folder: Path) -> None:
    done = run_quell(folder, "route", "test", *LABELS, "--severity", "P1", "--source", "prod")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "HighLatency from prod, about payment"
    assert lines[1].startswith(
        "  runbook   high: its trigger matches alertname=~\"High.*\" (alertname is 'HighLatency') and "
    )
    assert lines[1].endswith("; before any: it is more specific (matchers on alertname, env)")
    assert lines[2] == "  would     open an incident: no incident of its group is open, and none near it"
    assert "  ✓ any   its trigger matches severity P1" in lines
    assert "as if nothing had happened" in done.stdout


def test_none_is_2_and_says_of_each_why_not(folder: Path) -> None:
    done = run_quell(folder, "route", "test", *LABELS, "--json")
    assert done.returncode == 2
    found = told(done)
    assert (found["against"], found["runbook"], found["outcome"]) == ("configuration", None, "opened")
    assert {one["name"]: one["why"] for one in found["candidates"]} == {
        "high": "it has no severity, P1 or P2 is asked for", "any": "it has no severity, P1 is asked for",
    }  # fmt: skip


def test_an_alert_from_a_file_with_options_over_it(folder: Path) -> None:
    alert = {
        "status": "firing", "labels": {"alertname": "HighLatency", "env": "dev", "severity": "critical"},
        "annotations": {}, "startsAt": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    (folder / "alert.json").write_text(json.dumps(alert))
    asked = ("route", "test", "--file", "alert.json", "--source", "prod", "--json")
    assert told(run_quell(folder, *asked))["runbook"] == "any"
    assert told(run_quell(folder, *asked, "--label", "env=stage"))["runbook"] == "high"
    piped = run_quell(folder, "route", "test", "--file", "-", "--json", stdin=json.dumps(alert))
    assert told(piped)["runbook"] == "any"


def test_every_fault_at_once_with_its_place(folder: Path) -> None:
    (folder / "alert.yaml").write_text("labels: {alertname: x}\nsevrity: P1\nstatus: burning\n")
    done = run_quell(folder, "route", "test", "--file", "alert.yaml", "--label", "nothing", "--severity", "urgent")
    assert done.returncode == 1
    assert "--label: error: not a pair" in done.stderr
    assert "alert.yaml:2:10: error: unknown key 'sevrity'" in done.stderr
    assert "nearest 'severity'" in done.stderr
    assert "alert.yaml:3:9: error:" in done.stderr
    assert "it is no severity" in done.stderr
    assert run_quell(folder, "route", "test").returncode == 1
    assert "give the label alertname" in run_quell(folder, "route", "test").stderr
    assert run_quell(folder, "route", "test", "--file", "gone.json").returncode == 1


def test_a_broken_runbook_is_left_out_and_told(folder: Path) -> None:
    (folder / "high.yaml").write_text("id: high\nseverity: P9\n")
    done = run_quell(folder, "route", "test", *LABELS, "--severity", "critical")
    assert done.returncode == 0
    assert "left out, it is broken: high.yaml" in done.stderr.replace(f"{folder}/", "")


def test_a_server_knows_more(tmp_path: Path) -> None:
    write_runbook(tmp_path, triggers=[{"type": "alert", "alert_name": "Stuck"}])
    with served(tmp_path, "--runbooks", "fix.json") as server:
        asked = ("route", "test", "--label", "alertname=Stuck", "--server", server.address)
        done = server.ask(*asked)
        assert done.returncode == 0
        assert f"{server.address}, with all that it knows at this moment" in done.stdout
        assert told(server.ask(*asked, "--json"))["against"] == "server"
        assert server.ask("route", "test", "--label", "alertname=Other", "--server", server.address).returncode == 2

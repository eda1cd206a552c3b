"""`quell serve`: starting, ending, being killed, observing."""

import json
import socket
import time
import urllib.request
from pathlib import Path
from typing import Any

from tests.cli.command import run_quell, served, times_done, write_runbook
from tests.servers.process import wait_until

APPROVAL = {"requires_approval": True}


def test_it_says_how_it_started_and_ends_when_asked(tmp_path: Path) -> None:
    write_runbook(tmp_path)
    with served(tmp_path, "--runbooks", "fix.json") as server:
        assert server.started["address"] == server.address
        assert server.started["mode"] == "act"
        assert server.started["runbooks"] == ["fix"]
        assert server.started["database"] == str(tmp_path / "quell.db")
        assert server.stop() == 0
    assert "Traceback" not in (tmp_path / "serve.log").read_text()


def test_a_killed_server_goes_on_with_what_waited(tmp_path: Path) -> None:
    """The approval outlives the process, and the action happens once. Whoever is gone from here is not waited for."""
    write_runbook(tmp_path, step=APPROVAL)
    (tmp_path / "quell.yaml").write_text("runbooks: fix.json\nengine: {lease: 5m, poll: 0.2s}\n")
    with served(tmp_path) as server:
        incident = server.json("trigger", "fix")["execution"]["incidentId"]
        server.wait_for(incident, "waiting_approval")
        server.kill()
        assert times_done(tmp_path) == 0
        server.start()
        assert server.wait_for(incident, "waiting_approval")["acknowledged_by"] is None
        assert server.json("approve", incident)["answer"] == "approved"
        ended = server.wait_for(incident, "resolved")
    assert times_done(tmp_path) == 1
    assert [deed["result"] for deed in ended["deeds"].values()] == ["done"]


def test_a_server_that_observes_never_acts(tmp_path: Path) -> None:
    write_runbook(tmp_path)
    with served(tmp_path, "--observe", "--runbooks", "fix.json") as server:
        assert server.started["mode"] == "observe"
        incident = server.json("trigger", "fix")["execution"]["incidentId"]
        ended = server.wait_for(incident, "escalated")
        assert "observe only" in ended["reason"]
        assert "repair" in ended["reason"], "it says what it would have done"
    assert times_done(tmp_path) == 0
    assert (tmp_path / "state").read_text() == "1"


def test_a_broken_runbook_stands_beside_the_good_ones(tmp_path: Path) -> None:
    books = tmp_path / "books"
    books.mkdir()
    write_runbook(tmp_path, state="0").rename(books / "fix.json")
    (books / "bad.yaml").write_text("id: bad\ntriggers: [{type: manual}]\ndiagnostics: 3\n")
    with served(tmp_path, "--runbooks", "books") as server:
        assert [Path(one["file"]).name for one in server.started["broken"]] == ["bad.yaml"]
        shown = server.ask("runbook", "list")
        assert shown.returncode == 0
        assert "1 runbook, 1 broken" in shown.stdout
        assert "bad.yaml:3:" in shown.stdout
        assert server.json("trigger", "fix")["execution"]["diagnosticResults"][0]["status"] == "healthy"
        (books / "bad.yaml").unlink()
        assert server.json("reload")["broken"] == []


def test_a_step_that_is_defined_nowhere_is_seen_in_the_list(tmp_path: Path) -> None:
    """It is accepted, since the step pages a person; whoever looks must see it before that."""
    books = tmp_path / "books"
    books.mkdir()
    write_runbook(tmp_path, state="0").rename(books / "fix.json")
    lost = [{"condition": "level.critical", "then": ["repair", "repiar"]}]
    write_runbook(tmp_path, state="0", name="lost", decision_tree=lost).rename(books / "lost.json")
    with served(tmp_path, "--runbooks", "books") as server:
        shown = server.ask("runbook", "list").stdout
        states = {line.split()[0]: line.split()[1] for line in shown.splitlines() if line.startswith(("fix ", "lost "))}
        assert states == {"fix": "ok", "lost": "problems"}
        assert "'repiar'" in shown
        assert "2 runbooks, 1 with problems, 0 broken" in shown
        (books / "lost.json").unlink()
        assert "1 runbook, 0 broken" in server.ask("reload").stdout


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_quell(tmp_path, "serve", "--port", str(port))
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr
    assert "in use" in done.stderr
    assert done.stdout == ""


def test_beyond_loopback_everybody_is_asked_who_they_are(tmp_path: Path) -> None:
    done = run_quell(tmp_path, "serve", "--host", "0.0.0.0", "--insecure")
    assert done.returncode == 1
    assert "insecure is for loopback only" in done.stderr
    assert done.stdout == ""
    (tmp_path / "quell.yaml").write_text("server:\n  host: 192.0.2.7\n  insecure: true\n")
    done = run_quell(tmp_path, "serve")
    assert done.returncode == 1
    assert "quell.yaml:2:" in done.stderr
    assert "insecure is for loopback only" in done.stderr


def test_a_token_and_insecure_contradict(tmp_path: Path) -> None:
    (tmp_path / "quell.yaml").write_text("server: {token: 'env:NOBODY'}\n")
    done = run_quell(tmp_path, "serve", "--insecure")
    assert done.returncode == 1
    assert "either a token or insecure" in done.stderr


def test_a_broken_configuration(tmp_path: Path) -> None:
    (tmp_path / "quell.yaml").write_text("servr: {port: 1}\n")
    done = run_quell(tmp_path, "serve")
    assert done.returncode == 1
    assert "quell.yaml:1:" in done.stderr
    assert "nearest 'server'" in done.stderr


def test_logs_are_lines_of_json_with_ids_as_fields(tmp_path: Path) -> None:
    write_runbook(tmp_path, fix="true")
    with served(tmp_path, "--runbooks", "fix.json") as server:
        incident = server.json("trigger", "fix")["execution"]["incidentId"]
        server.wait_for(incident, "escalated")
        log = tmp_path / "serve.log"
        wait_until(lambda: '"notification"' in log.read_text(), "the page is in the log")
    pages = [one for one in map(json.loads, log.read_text().splitlines()) if one["event"] == "notification"]
    assert [(one["incident"], one["level"], one["to"]) for one in pages] == [(incident, "error", "log:oncall")]


def post_alert(address: str, **labels: str) -> Any:
    """An Alertmanager webhook with one alert that fires."""
    alert = {"status": "firing", "labels": labels, "annotations": {}, "startsAt": "2026-01-01T00:00:00Z",
             "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "", "fingerprint": f"{time.time_ns():x}"}  # fmt: skip
    body = {"version": "4", "groupKey": "g", "status": "firing", "receiver": "quell", "groupLabels": {},
            "commonLabels": {}, "commonAnnotations": {}, "externalURL": "", "alerts": [alert]}  # fmt: skip
    request = urllib.request.Request(
        f"{address}/webhooks/alertmanager", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def test_an_alert_becomes_a_handled_incident(tmp_path: Path) -> None:
    write_runbook(tmp_path, triggers=[{"type": "alert", "alert_name": "Level"}])
    (tmp_path / "quell.yaml").write_text("runbooks: fix.json\nservices: {shop: {}}\n")
    with served(tmp_path) as server:
        [incident] = post_alert(server.address, alertname="Level", service="shop")["incidents"]
        ended = server.wait_for(incident, "resolved")
        assert ended["service"] == "shop"
        assert times_done(tmp_path) == 1
        listed = server.ask("alerts", "list")
        assert incident in listed.stdout
        assert "Level" in listed.stdout

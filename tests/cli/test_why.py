"""`quell why`: an answer for whatever came, readable at 3 AM."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import Served, run_quell, served, write_runbook


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("why")
    write_runbook(folder, triggers=[{"type": "alert", "alert_name": "Slow"}])
    with served(folder, "--runbooks", "fix.json") as running:
        yield running


def post(server: Served, name: str, status: str = "firing", **labels: str) -> list[str]:
    alert = {"status": status, "labels": {"alertname": name, **labels}, "annotations": {"summary": "It is slow\x1b[2J"},
             "startsAt": "2026-01-01T00:00:00Z", "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "",
             "fingerprint": name.encode().hex()[:16]}  # fmt: skip
    body = {"version": "4", "groupKey": "g", "status": status, "receiver": "quell", "groupLabels": {},
            "commonLabels": {}, "commonAnnotations": {}, "externalURL": "", "alerts": [alert]}  # fmt: skip
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(f"{server.address}/webhooks/alertmanager", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        told: dict[str, Any] = json.load(answer)
    return list(told["incidents"])


@pytest.fixture(scope="module")
def escalated(server: Served) -> str:
    (incident,) = post(server, "Slow", service="shop")
    server.wait_for(incident, "escalated")
    return incident


def test_an_alert_block_by_block(server: Served, escalated: str) -> None:
    shown = server.ask("why", "Slow").stdout
    order = ["It opened an incident", "Received", "no secret is configured", "What it is", "dedup key", "group key",
             "Rules tried", "✓ runbook fix", "What followed", "Incident", escalated, "Guards", "✗ refused", "Told"]  # fmt: skip
    places = [shown.find(word) for word in order]
    assert -1 not in places, shown
    assert places == sorted(places)
    assert "\x1b" not in shown
    told = server.json("why", b"Slow".hex())
    assert (told["outcome"], told["incident"]["id"]) == ("opened", escalated)


def test_an_incident_is_looked_for_first(server: Served, escalated: str) -> None:
    shown = server.ask("why", escalated[:12]).stdout
    assert shown.startswith("Escalated: It is slow")
    assert "the incident began with it" in shown
    assert "\x1b" not in shown
    assert server.json("why", escalated)["incident"]["id"] == escalated
    assert "\x1b" not in server.ask("incidents", "show", escalated).stdout


def test_what_led_to_nothing_has_an_answer(server: Served) -> None:
    post(server, "Never", status="resolved")
    shown = server.ask("why", "Never").stdout
    assert shown.startswith("Nothing followed from it: it resolved without ever having fired here")
    assert "it is in no incident" in shown


@pytest.mark.parametrize("name", ["a/b c", "why", "100%"])
def test_whatever_it_is_called(server: Served, name: str) -> None:
    post(server, name)
    assert server.json("why", name)["alert"]["name"] == name
    assert server.json("alerts", "show", name)["name"] == name


@pytest.mark.parametrize("name", ["nobody", "n" * 300])
def test_what_is_neither_says_so_of_both(server: Served, name: str) -> None:
    done = server.ask("why", name)
    assert done.returncode == 1
    assert "neither an incident (" in done.stderr
    assert f"nor an alert (no alert '{name}'" in done.stderr


def test_without_a_server_it_says_so(tmp_path: Path) -> None:
    done = run_quell(tmp_path, "why", "x", "--server", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert "no server at" in done.stderr

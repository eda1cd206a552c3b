"""`quell incidents list|show|timeline`: what a person reads about an incident."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import Served, run_quell, served, write_runbook


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    write_runbook(tmp_path, step={"requires_approval": True})
    with served(tmp_path, "--runbooks", "fix.json") as running:
        yield running


@pytest.fixture
def waiting(server: Served) -> str:
    incident: str = server.json("trigger", "fix")["execution"]["incidentId"]
    server.wait_for(incident, "waiting_approval")
    return incident


def test_the_list(server: Served, waiting: str) -> None:
    line = next(line for line in server.ask("incidents", "list").stdout.splitlines() if waiting in line)
    assert "waiting approval" in line
    assert "shop" in line
    none = server.ask("incidents", "list", "--status", "resolved")
    assert none.stdout == "No incidents are resolved.\n"
    assert server.ask("incidents", "list", "--status", "nonsense").returncode == 2
    assert waiting in server.ask("incidents", "list", "--open").stdout
    server.ask("approve", waiting)
    server.wait_for(waiting, "resolved")
    assert server.ask("incidents", "list", "--open").stdout == "No incidents are open.\n"
    assert waiting in server.ask("incidents", "list").stdout


def test_the_page_says_first_where_it_stands(server: Served, waiting: str) -> None:
    shown = server.ask("incidents", "show", waiting[:8]).stdout
    assert shown.startswith("Waiting for you: 9m")
    order = [shown.index(word) for word in ("Waiting for you", "approve?", "Findings", "Decision", "More")]
    assert order == sorted(order)
    approval = next(iter(server.json("incidents", "show", waiting)["approvals"]))
    assert f"quell approve {approval}" in shown
    assert "\x1b" not in shown
    server.ask("approve", waiting)
    server.wait_for(waiting, "resolved")
    after = server.ask("incidents", "show", waiting).stdout
    assert after.startswith("Resolved after")
    assert "recovered: level: critical → healthy" in after


def test_following_goes_on_until_it_is_over(server: Served, waiting: str) -> None:
    assert server.ask("approve", waiting).returncode == 0
    followed = server.ask("incidents", "timeline", waiting, "--follow", "--json")
    kinds = [json.loads(line)["kind"] for line in followed.stdout.splitlines()]
    assert kinds[0] == "incident.opened"
    assert kinds[-1] == "run.ended"
    assert kinds == [one["kind"] for one in server.json("incidents", "timeline", waiting)["events"]]
    assert "decide" in server.ask("incidents", "timeline", waiting).stdout


def test_no_server(tmp_path: Path, free_port: int) -> None:
    address = f"http://127.0.0.1:{free_port}"
    done = run_quell(tmp_path, "incidents", "list", "--server", address)
    assert done.returncode == 1
    assert address in done.stderr
    assert "quell serve" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("address", ["ftp://host", "http://", "http://host:notaport"])
def test_an_address_that_is_none(tmp_path: Path, address: str) -> None:
    done = run_quell(tmp_path, "incidents", "list", "--server", address)
    assert done.returncode == 1
    assert "not the address of a server" in done.stderr

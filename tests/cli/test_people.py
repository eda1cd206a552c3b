"""`quell approve|deny|take|give-back|ack|resolve`: what people say, and what they are told."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import Served, served, times_done, write_runbook
from tests.servers.process import wait_until


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    write_runbook(tmp_path, step={"requires_approval": True})
    with served(tmp_path, "--runbooks", "fix.json") as running:
        yield running


@pytest.fixture
def waiting(server: Served) -> str:
    """An incident that waits for an answer."""
    incident: str = server.json("trigger", "fix")["execution"]["incidentId"]
    server.wait_for(incident, "waiting_approval")
    return incident


def test_the_second_is_told_who_was_first(server: Served, waiting: str) -> None:
    first = server.ask("approve", waiting, "--by", "bob", "--reason", "agreed")
    assert first.returncode == 0, first.stderr
    assert "Approved by bob" in first.stdout
    approval = next(iter(server.json("incidents", "show", waiting)["approvals"]))
    second = server.ask("deny", approval)
    assert second.returncode == 1
    assert "already approved by bob" in second.stderr
    server.wait_for(waiting, "resolved")
    assert times_done(server.folder) == 1


def test_no_means_no(server: Served, waiting: str) -> None:
    done = server.ask("deny", waiting, "--reason", "a migration runs")
    assert done.returncode == 0, done.stderr
    ended = server.wait_for(waiting, "escalated")
    assert "a migration runs" in ended["reason"]
    assert times_done(server.folder) == 0


def test_who_takes_over_has_it(server: Served, waiting: str) -> None:
    taken = server.ask("take", waiting)
    assert taken.returncode == 0, taken.stderr
    assert f"ann has incident {waiting}" in taken.stdout
    late = server.ask("approve", waiting)
    assert late.returncode == 1
    second = server.ask("take", waiting, "--by", "bob")
    assert second.returncode == 1
    assert "already taken by ann" in second.stderr
    shown = server.ask("incidents", "show", waiting)
    assert shown.stdout.startswith("ann has it")
    assert server.ask("give-back", waiting).returncode == 0
    wait_until(lambda: server.json("incidents", "show", waiting)["assignee"] is None, "given back")
    assert server.ask("resolve", waiting, "--reason", "by hand").stdout == f"Incident {waiting} is resolved: by hand.\n"
    assert times_done(server.folder) == 0


def test_seen(server: Served, waiting: str) -> None:
    done = server.ask("ack", waiting)
    assert "Acknowledged by ann" in done.stdout


@pytest.mark.parametrize("words", [["approve", "nope"], ["take", "nope"], ["incidents", "show", "nope"]])
def test_what_is_not_there(server: Served, words: list[str]) -> None:
    done = server.ask(*words)
    assert done.returncode == 1
    assert "'nope'" in done.stderr


def test_a_server_that_wants_a_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("sesame")
    (tmp_path / "quell.yaml").write_text(f"server: {{token: 'file:{tmp_path}/token'}}\n")
    with served(tmp_path) as server:
        without = server.ask("incidents", "list")
        assert without.returncode == 1
        assert "set QUELL_TOKEN" in without.stderr
        assert server.ask("incidents", "list", QUELL_TOKEN="sesame").stdout == "No incidents.\n"

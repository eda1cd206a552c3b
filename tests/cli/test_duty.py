"""`quell step|hand-over|break-glass|close|obligations|shadow`: what whoever has an incident says, and is told."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import Served, served, times_done, write_runbook


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("duty")
    write_runbook(folder)
    with served(folder, "--runbooks", "fix.json") as running:
        yield running


def test_a_shift_from_its_beginning_to_its_end(server: Served) -> None:
    server.ask("pause", "--all", "--for", "1h", "--reason", "we move")
    incident = server.json("trigger", "fix")["execution"]["incidentId"]
    server.wait_for(incident, "escalated")
    assert server.ask("take", incident).returncode == 0
    stepped = server.ask("step", incident, "restarted the pooler", "--failed", "--note", "out of memory")
    assert stepped.stdout == f"Noted for {incident}: restarted the pooler failed.\n"
    over = server.ask("hand-over", "--to", "bob", "--note", "the vendor calls")
    assert over.returncode == 0, over.stderr
    assert f"handed over to bob, who accepts with: quell take {incident}" in over.stdout
    assert "restarted the pooler, by ann: failed out of memory" in over.stdout
    assert server.ask("take", incident, "--by", "bob").returncode == 0
    assert server.ask("hand-over", "--to", "carla").stdout == "You have no incident to hand over.\n"
    assert server.ask("give-back", incident, "--by", "bob").returncode == 0
    server.wait_for(incident, "escalated")
    broken = server.ask("break-glass", incident, "--reason", "customers cannot pay", "--for", "5m")
    assert broken.returncode == 0, broken.stderr
    assert broken.stdout.startswith("Until 20")
    server.wait_for(incident, "resolved")
    assert times_done(server.folder) == 1
    assert server.ask("close", incident).stdout == f"Incident {incident} is closed.\n"
    assert server.ask("close", incident).returncode == 1


def test_what_is_kept_and_what_was_rehearsed(server: Served) -> None:
    assert server.ask("obligations").stdout == "Nothing is kept for now.\n"
    assert server.json("obligations") == {"obligations": []}
    assert server.ask("obligations", "end", "run:x.1/y/1/").returncode == 2
    gone = server.ask("obligations", "end", "run:x.1/y/1/", "--kept")
    assert gone.returncode == 1
    assert "no open obligation" in gone.stderr
    assert server.ask("shadow").stdout == "No runbook has run in shadow mode.\n"

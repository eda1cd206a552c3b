"""`quell serve` asked to end while its database is away: it does not wait for it, and says that it ended cleanly."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import served, write_runbook
from tests.servers.postgres import Postgres
from tests.servers.process import RunServer, descendants, wait_until

EXPIRES = {"requires_approval": True, "approval": {"expires": "3s"}}


@pytest.fixture
def own_postgres(run_server: RunServer) -> Postgres:
    return run_server(Postgres())


@contextlib.contextmanager
def hanging(server: Postgres) -> Iterator[None]:
    """It keeps its connections and answers nothing, as behind a network that drops what it is given."""
    family = (server.pid, *descendants(server.pid))
    for pid in family:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in family:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("away", ["stopped", "stopped for long", "back again"])
def test_it_ends_without_its_database(tmp_path: Path, own_postgres: Postgres, away: str) -> None:
    write_runbook(tmp_path, step=EXPIRES)
    (tmp_path / "quell.yaml").write_text("runbooks: fix.json\nengine: {lease: 2s, poll: 0.2s}\n")
    log = tmp_path / "serve.log"
    with served(tmp_path, "--db", own_postgres.url()) as server:
        incident = server.json("trigger", "fix")["execution"]["incidentId"]
        server.wait_for(incident, "waiting_approval")
        own_postgres.stop()
        wait_until(lambda: "heartbeat_failed" in log.read_text(), "it has seen that")
        if away in ("stopped for long", "back again"):
            # The approval runs out meanwhile: a thread of the engine asks the database again and again.
            wait_until(lambda: log.read_text().count("Database connection failed") > 2, "it is asked again", 60)
        if away == "back again":
            own_postgres.start()
        assert server.stop() == 0


def test_it_ends_although_its_database_hangs(tmp_path: Path, own_postgres: Postgres) -> None:
    write_runbook(tmp_path, step=EXPIRES)
    (tmp_path / "quell.yaml").write_text("runbooks: fix.json\nengine: {lease: 2s, poll: 0.2s}\n")
    with served(tmp_path, "--db", own_postgres.url()) as server:
        incident = server.json("trigger", "fix")["execution"]["incidentId"]
        server.wait_for(incident, "waiting_approval")
        with hanging(own_postgres):
            assert server.stop() == 0

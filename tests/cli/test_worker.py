"""`quell worker` and `quell workers`: real processes that share one PostgreSQL, and what becomes of their work."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import Served, environment, run_quell, served, start_quell, times_done, write_runbook
from tests.servers.forked import Forked
from tests.servers.process import wait_until
from tests.servers.relay import Relay

APPROVAL = {"requires_approval": True}
GO = "while [ ! -e go ]; do sleep 0.02; done; echo 0 > state"
"""An action that is under way until the file ``go`` is there."""


class Works:
    """A `quell worker` in a process of its own."""

    def __init__(self, folder: Path, url: str, *, version: str = "") -> None:
        self._log = (folder / "worker.log").open("ab")
        words, files = ("worker", "--json", "--db", url), {"stdout": subprocess.PIPE, "stderr": self._log}
        self.process: subprocess.Popen[bytes] | Forked
        if version:
            newer = f"import quell; quell.__version__ = {version!r}; from quell.cli.main import main; main()"
            self.process = subprocess.Popen(
                [sys.executable, "-c", newer, *words], cwd=folder, env=environment(), **files
            )  # fmt: skip
        else:
            self.process = start_quell(folder, *words, **files)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, (folder / "worker.log").read_text()
        self.id: str = json.loads(line)["worker"]

    def tell(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """Whatever it is doing, it is gone afterwards."""
        if self.process.poll() is None:
            self.process.kill()
        code = self.process.wait(20)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._log.close()
        return code


@contextlib.contextmanager
def works(folder: Path, url: str, **more: Any) -> Iterator[Works]:
    worker = Works(folder, url, **more)
    try:
        yield worker
    finally:
        worker.end()


@contextlib.contextmanager
def shared(folder: Path, url: str, **more: Any) -> Iterator[tuple[Served, str]]:
    """A server over the database whose only place is taken by an action that waits for ``go``: the worker gets the
    rest. Yields it with that incident."""
    busy = write_runbook(folder, name="busy", service="other", fix=GO)
    book = json.loads(busy.read_text())
    book["remediations"][0]["action"]["config"]["target"] = "something else"  # so that nobody waits for it
    busy.write_text(json.dumps(book))
    write_runbook(folder, **more)
    (folder / "quell.yaml").write_text(
        "runbooks: [fix.json, busy.json]\nengine: {lease: 1s, poll: 0.1s, places: 1, drain: 5m, park: 10m}\nserver: {trigger_wait: 100ms}\n"
        "services: {shop: {}, other: {}}\n"
    )
    with served(folder, "--db", url) as server:
        first = begin(server, "busy")
        wait_until(lambda: times_done(folder) == 1, "the server is busy")
        try:
            yield server, first
        finally:
            (folder / "go").touch()  # whoever ends waits for actions that run


def begin(server: Served, runbook: str) -> str:
    answer = server.json("trigger", runbook)
    return str(answer.get("incidentId") or answer["execution"]["incidentId"])


def workers(server: Served) -> dict[str, Any]:
    return {one["id"]: one for one in server.get("/api/v1/workers")["workers"]}


def has(server: Served, worker: Works, incident: str) -> bool:
    return incident in workers(server)[worker.id]["incidents"]


def test_a_worker_takes_what_the_server_has_no_place_for(tmp_path: Path, postgres_url: str) -> None:
    with shared(tmp_path, postgres_url, fix=GO) as (server, busy), works(tmp_path, postgres_url) as worker:
        incident = begin(server, "fix")
        wait_until(lambda: times_done(tmp_path) == 2, "the worker acts")
        found = workers(server)
        assert {one["kind"]: one["incidents"] for one in found.values()} == {"server": [busy], "worker": [incident]}
        assert {one["state"] for one in found.values()} == {"alive"}
        assert len({one["configuration"] for one in found.values()}) == 1
        assert {one["id"] for one in server.json("workers")["workers"]} == set(found)
        table = server.ask("workers").stdout
        assert worker.id in table
        assert incident in table
        (tmp_path / "go").touch()
        for one in (busy, incident):
            server.wait_for(one, "resolved")
        assert not any(one["incidents"] for one in workers(server).values())


@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.long)])
def test_the_incident_of_a_worker_that_dies_or_hangs_goes_on(
    tmp_path: Path, postgres_url: str, how: signal.Signals
) -> None:
    """It waited for an approval; the action happens once, and who comes back late does nothing."""
    with shared(tmp_path, postgres_url, step=APPROVAL) as (server, _), works(tmp_path, postgres_url) as worker:
        incident = begin(server, "fix")
        server.wait_for(incident, "waiting_approval")
        assert has(server, worker, incident)
        worker.tell(how)
        wait_until(lambda: not has(server, worker, incident), "it is no longer the worker's")
        (tmp_path / "go").touch()
        assert server.json("approve", incident)["answer"] == "approved"
        server.wait_for(incident, "resolved")
        if how is signal.SIGSTOP:
            worker.tell(signal.SIGCONT)
            wait_until(lambda: workers(server)[worker.id]["state"] == "alive", "it is back")
        else:
            assert workers(server)[worker.id]["state"] == "ended"
        again = server.json("incidents", "show", incident)
        assert [deed["result"] for deed in again["deeds"].values()] == ["done"]
        assert times_done(tmp_path) == 2


def test_a_zombie_does_not_act(tmp_path: Path, postgres_url: str) -> None:
    """It hung in the middle of an action that nobody may repeat: somebody is asked what is true, and when it wakes it
    changes nothing of that."""
    with shared(tmp_path, postgres_url, fix=GO) as (server, _), works(tmp_path, postgres_url) as worker:
        incident = begin(server, "fix")
        wait_until(lambda: times_done(tmp_path) == 2, "the worker acts")
        worker.tell(signal.SIGSTOP)
        wait_until(lambda: not has(server, worker, incident), "it is no longer the worker's")
        (tmp_path / "go").touch()
        asked = server.wait_for(incident, "waiting_approval")
        assert [deed["result"] for deed in asked["deeds"].values()] == ["unknown"]
        worker.tell(signal.SIGCONT)
        wait_until(lambda: workers(server)[worker.id]["state"] == "alive", "it is back")
        assert server.json("incidents", "show", incident)["status"] == "waiting_approval"
        assert server.json("approve", incident)["answer"] == "approved"
        server.wait_for(incident, "resolved")
        assert times_done(tmp_path) == 2


@pytest.mark.long
def test_it_ends_when_its_actions_have(tmp_path: Path, postgres_url: str) -> None:
    with shared(tmp_path, postgres_url, fix=GO) as (server, _), works(tmp_path, postgres_url) as worker:
        incident = begin(server, "fix")
        wait_until(lambda: times_done(tmp_path) == 2, "the worker acts")
        worker.tell(signal.SIGTERM)
        later = begin(server, "fix")  # a worker that ends begins nothing more
        assert not has(server, worker, later)
        (tmp_path / "go").touch()
        assert worker.process.wait(60) == 0
        for one in (incident, later):
            ended = server.wait_for(one, "resolved")
            assert {deed["result"] for deed in ended["deeds"].values()} <= {"done"}
        assert has_ended(server, worker)
    assert "Traceback" not in (tmp_path / "worker.log").read_text()


def has_ended(server: Served, worker: Works) -> bool:
    wait_until(lambda: workers(server)[worker.id]["state"] == "ended", "its lease has ended")
    return True


def test_an_approval_outlives_the_version_it_was_asked_by(tmp_path: Path, postgres_url: str) -> None:
    with shared(tmp_path, postgres_url, step=APPROVAL) as (server, _), works(tmp_path, postgres_url) as older:
        incident = begin(server, "fix")
        asked = server.wait_for(incident, "waiting_approval")
        with works(tmp_path, postgres_url, version="9.9.9") as newer:
            assert workers(server)[newer.id]["version"] == "9.9.9"
            older.tell(signal.SIGTERM)
            assert older.process.wait(20) == 0
            wait_until(lambda: has(server, newer, incident), "the newer one has it")
            now = server.json("incidents", "show", incident)
            assert [one["expires_at"] for one in now["approvals"].values()] == [
                one["expires_at"] for one in asked["approvals"].values()
            ]
            assert server.json("approve", incident)["answer"] == "approved"
            server.wait_for(incident, "resolved")
    assert times_done(tmp_path) == 2


@pytest.mark.long
def test_a_worker_that_loses_the_database_loses_its_work_and_comes_back(tmp_path: Path, postgres_url: str) -> None:
    _, _, rest = postgres_url.rpartition("@")
    port = int(rest.partition(":")[2].partition("/")[0])
    with shared(tmp_path, postgres_url, step=APPROVAL) as (server, _), Relay(port) as relay:
        through = postgres_url.replace(f":{port}/", f":{relay.port}/")
        with works(tmp_path, through) as worker:
            incident = begin(server, "fix")
            server.wait_for(incident, "waiting_approval")
            assert has(server, worker, incident)
            relay.cut()
            wait_until(lambda: not has(server, worker, incident), "it is no longer the worker's")
            relay.mend()
            wait_until(lambda: workers(server)[worker.id]["state"] == "alive", "it is back")
            (tmp_path / "go").touch()
            assert server.json("approve", incident)["answer"] == "approved"
            server.wait_for(incident, "resolved")
            assert worker.process.poll() is None
    assert times_done(tmp_path) == 2


def test_a_file_is_for_one_process(tmp_path: Path) -> None:
    done = run_quell(tmp_path, "worker", "--db", "quell.db")
    assert done.returncode == 1
    assert "a SQLite file is for one process" in done.stderr
    assert not list(tmp_path.iterdir())

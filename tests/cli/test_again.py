"""A command whose answer is lost on the way is sent again, and has its effect once."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import Served, run_quell, served, told, write_runbook


class Lossy:
    """A line to a server that loses so many of its answers: they are read, and the connection is cut."""

    def __init__(self, port: int, losses: int) -> None:
        self.port, self.losses, self.asked = port, losses, list[bytes]()
        self._listens = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listens.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Lossy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listens.shutdown(socket.SHUT_RDWR)
        self._listens.close()
        self._thread.join(30)

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._listens.accept()
            except OSError:  # closed: the test is over
                return
            with client, contextlib.suppress(OSError):
                self._carry(client)

    def _carry(self, client: socket.socket) -> None:
        """One request each: the command is asked to close the connection after it."""
        asked = _message(client).replace(b"Connection: keep-alive", b"Connection: close")
        self.asked.append(asked)
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as server:
            server.sendall(asked)
            answer = b"".join(iter(lambda: server.recv(65_536), b""))
        if len(self.asked) > self.losses:
            client.sendall(answer)

    @property
    def keys(self) -> list[str]:
        lines = [line.decode().lower() for asked in self.asked for line in asked.split(b"\r\n")]
        return [line.partition(": ")[2] for line in lines if line.startswith("idempotency-key: ")]


def _message(client: socket.socket) -> bytes:
    """A request with the length of its body."""
    read = b""
    while b"\r\n\r\n" not in read:
        read += client.recv(65_536)
    head, _, body = read.partition(b"\r\n\r\n")
    length = next(
        (int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0
    )
    while len(body) < length:
        body += client.recv(65_536)
    return head + b"\r\n\r\n" + body


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    write_runbook(tmp_path)
    with served(tmp_path, "--insecure", "--runbooks", "fix.json") as running:
        yield running


def test_a_lost_answer_is_asked_for_again_under_the_same_key(server: Served) -> None:
    with Lossy(server.port, 2) as line:
        done = run_quell(server.folder, "trigger", "fix", "--json", QUELL_SERVER=line.address)
    assert done.returncode == 0, done.stderr
    incidents = server.json("incidents", "list")["incidents"]
    assert len(incidents) == 1
    assert told(done)["execution"]["incidentId"] == incidents[0]["id"]
    assert (len(line.keys), len(set(line.keys))) == (3, 1)


def test_each_command_has_a_key_of_its_own(server: Served) -> None:
    with Lossy(server.port, 0) as line:
        for _ in range(2):
            assert run_quell(server.folder, "reload", QUELL_SERVER=line.address).returncode == 0
    assert len(set(line.keys)) == 2

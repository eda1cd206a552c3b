"""A server's life: it dies with its test, shows its log when it cannot start, and is ended when it will not end."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers.haproxy import HAProxy
from tests.servers.ports import free_port, listening
from tests.servers.process import (
    DidNotStartError,
    MissingProgramError,
    Server,
    alive,
    descendants,
    locate,
    start_time,
    wait_until,
)


def test_a_server_dies_with_the_test_process() -> None:
    program = (
        "import time; from tests.servers.redis import Redis\n"
        "with Redis() as server: print(server.pid, server.folder, flush=True); time.sleep(1000)"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", program], cwd=root, stdout=subprocess.PIPE, text=True) as tester:
        assert tester.stdout is not None
        if not (line := tester.stdout.readline()):
            locate("redis-server", "redis-server")
        pid, folder = line.split()
        started = start_time(int(pid))
        assert alive(int(pid), started)
        tester.kill()
        tester.wait()
    wait_until(lambda: not alive(int(pid), started), "the server's end")
    shutil.rmtree(folder)


def test_a_server_that_cannot_start_shows_its_log_and_leaves_no_folder() -> None:
    server = HAProxy("nonsense here\n")
    with pytest.raises(DidNotStartError, match="unknown keyword 'nonsense'"):
        server.__enter__()
    assert not server.folder.exists()
    assert not server.running


def test_a_server_that_never_answers_is_given_up() -> None:
    class Deaf(Server):
        def argv(self) -> list[str]:
            return ["sh", "-c", "echo here I am; sleep 1000"]

        def ready(self) -> bool:
            return False

        def start(self, within: float = 0.3) -> None:
            super().start(within)

    server = Deaf()
    with pytest.raises(DidNotStartError, match="here I am"):
        server.__enter__()
    assert not server.running


def test_a_stubborn_server_is_ended_with_its_children() -> None:
    class Stubborn(Server):
        def argv(self) -> list[str]:
            return ["sh", "-c", "trap '' TERM; setsid sleep 1000 & echo up; while :; do sleep 0.1; done"]

        def ready(self) -> bool:
            return "up" in self.log() and len(descendants(self.pid)) > 0

    with Stubborn() as server:
        family = descendants(server.pid)
        server.stop(within=0.2)
        assert not any(alive(*one) for one in family.items())


def test_a_missing_program_names_its_package() -> None:
    with pytest.raises(MissingProgramError, match=r"needs no-such-program \(Debian package no-such\)"):
        locate("no-such-program", "no-such")


def test_a_missing_program_is_a_skip(pytester_free_run: Callable[[str], str]) -> None:
    answer = pytester_free_run(
        "from tests.servers.process import locate\ndef test_it(): locate('no-such-program', 'no-such')\n"
    )
    assert "needs no-such-program (Debian package no-such)" in answer
    assert "1 skipped" in answer


@pytest.fixture
def pytester_free_run(tmp_path: Path) -> Callable[[str], str]:
    """Run a test file of the given text with this house's conftest; what pytest says."""
    root = Path(__file__).parents[2]

    def run(text: str) -> str:
        (tmp_path / "test_it.py").write_text(text)
        shutil.copy(root / "tests" / "conftest.py", tmp_path)
        command = [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", "-p", "no:xdist"]
        done = subprocess.run(
            [*command, f"--rootdir={tmp_path}", "-o", f"pythonpath={root}", "test_it.py"],
            cwd=tmp_path,
            env={**os.environ, "COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + done.stderr

    return run


def test_ports_are_free_and_never_given_twice() -> None:
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == len(ports)
    assert not any(listening(port) for port in ports)

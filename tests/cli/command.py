"""The real `quell`, as a person would start it, and a runbook on files for it to carry out.

Never calls a function of the command line: arguments go in, text and an exit code come out.
"""

import contextlib
import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import quell as package
from quell import local
from tests.servers.forked import QUELL, Forked, run
from tests.servers.ports import free_port
from tests.servers.process import wait_until

SOURCE = str(Path(package.__file__).parents[1])


def environment(**more: str) -> dict[str, str]:
    """Ours without what a developer may have set for `quell`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("QUELL_")}
    return {**kept, "PYTHONPATH": SOURCE, "QUELL_USER": "ann", "NO_COLOR": "1", **more}


def run_quell(folder: Path, *words: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    """One command to its end. Without a terminal, as everything here."""
    done = run(QUELL, words, cwd=folder, env=environment(**env), stdin=stdin.encode())
    out, err = (told.decode() for told in (done.stdout, done.stderr))
    assert "Traceback" not in err, err
    return subprocess.CompletedProcess(done.args, done.returncode, out, err)


def start_quell(folder: Path, *words: str, env: dict[str, str] | None = None, **files: Any) -> Forked:
    """One command, to be talked to while it runs. ``files``: as of `Forked`."""
    return Forked(QUELL, words, cwd=folder, env=environment(**(env or {})), **files)


def told(done: subprocess.CompletedProcess[str]) -> Any:
    """The JSON document on stdout."""
    return json.loads(done.stdout)


class Served:
    """A running `quell serve` and the commands that talk to it."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.folder = folder
        self.port = free_port()
        self._words = words
        self.start()

    def start(self) -> None:
        """Start, or start again, and wait until it accepts."""
        self._log = (self.folder / "serve.log").open("ab")
        self.process = start_quell(
            self.folder, "serve", "--json", "--port", str(self.port), "--db", "quell.db", *self._words,
            stdout=subprocess.PIPE, stderr=self._log,
        )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, (self.folder / "serve.log").read_text()
        self.started = json.loads(line)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        """As a power cut would."""
        self.process.kill()
        self._reap()

    def stop(self) -> int:
        self.process.terminate()
        return self._reap()

    def _reap(self) -> int:
        code = self.process.wait(20)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._log.close()
        return code

    def ask(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        return run_quell(self.folder, *words, QUELL_SERVER=self.address, **env)

    def json(self, *words: str) -> Any:
        done = self.ask(*words, "--json")
        assert done.returncode == 0, done.stderr
        return told(done)

    def get(self, path: str) -> Any:
        """Over HTTP, as whoever runs the server: a command takes most of a second, and a wait asks many times."""
        key = {"authorization": f"Bearer {local.read(self.address)}"}
        with urllib.request.urlopen(urllib.request.Request(self.address + path, headers=key), timeout=30) as answer:
            return json.load(answer)

    def wait_for(self, incident: str, status: str) -> Any:
        """The incident once it is in this status, as `quell incidents show` tells it."""

        def arrived() -> bool:
            return bool(self.get(f"/api/v1/incidents/{incident}")["status"] == status)

        wait_until(arrived, f"incident {incident} is {status}")
        return self.json("incidents", "show", incident)


@contextlib.contextmanager
def served(folder: Path, *words: str) -> Iterator[Served]:
    server = Served(folder, *words)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            try:
                server.stop()
            except subprocess.TimeoutExpired:
                server.kill()  # a test that fails leaves nobody behind
                raise


def write_runbook(
    folder: Path, *, state: str = "1", fix: str = "echo 0 > state", name: str = "fix", **more: Any
) -> Path:
    """A runbook whose check reads `state` (0 is well) and whose action runs `fix`, noting each time in `done`."""
    (folder / "state").write_text(state)
    step = {
        "id": "repair", "type": "automated",
        "action": {"type": "run_script", "config": {
            "command": ["/bin/sh", "-c", f"echo once >> done; {fix}"], "cwd": str(folder)}},
        **more.pop("step", {}),
    }  # fmt: skip
    book = {
        "id": name, "severity": "P2", "service": "shop", "triggers": [{"type": "manual"}],
        "diagnostics": [{
            "id": "level", "type": "shell_command", "timeout": "5s",
            "config": {"command": ["cat", str(folder / "state")]},
            "interpret": {"healthy": "value == 0", "critical": "value > 0"},
        }],
        "decision_tree": [{"condition": "level.critical", "then": ["repair"]}],
        "remediations": [step],
        "verify": {"signals": ["level"], "stable_for": "200ms", "within": "1s", "every": "100ms"},
        "escalation": {"primary": "log:oncall"},
        **more,
    }  # fmt: skip
    path = folder / f"{name}.json"
    path.write_text(json.dumps(book))
    return path


def times_done(folder: Path) -> int:
    """How often the action happened."""
    done = folder / "done"
    return len(done.read_text().splitlines()) if done.exists() else 0


def read_until(leader: int, mark: bytes | None) -> bytes:
    """What the terminal shows until a mark, or until it is closed."""
    seen = b""
    while mark is None or mark not in seen:
        try:
            part = os.read(leader, 65536)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        seen += part
    return seen

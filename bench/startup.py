"""What a person waits for: the version, a lint, a server that accepts its first alert; and what it weighs, idle."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.loop import runbook, webhook

# As installed: compiled once, whatever the shell that runs this says.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
QUELL = [sys.executable, "-m", "quell.cli.main"]
ROUNDS = 5


def seconds(command: list[str]) -> float:
    """The wall time of a command, in the quietest of a few rounds."""
    return round(min(_timed(command) for _ in range(ROUNDS)), 3)


def _timed(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def lint_thousand() -> float:
    """1,000 different runbooks, one process."""
    with tempfile.TemporaryDirectory() as folder:
        text = Path(__file__).parent.parent.joinpath("examples/checkout-bad-deploy.yaml").read_text()
        for number in range(1000):
            Path(folder, f"{number}.yaml").write_text(text.replace("id: checkout-bad-deploy", f"id: checkout-{number}"))
        return round(min(_timed([*QUELL, "lint", folder]) for _ in range(2)), 2)


def serve() -> dict[str, float]:
    """From the command to the first accepted alert, and resident memory a few seconds later."""
    starts, memory = [], []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            start, idle = _serve_once(Path(folder))
            starts.append(start)
            memory.append(idle)
    return {"serve_to_first_alert_s": round(min(starts), 3), "idle_memory_mb": round(max(memory), 1)}


def _serve_once(folder: Path) -> tuple[float, float]:
    (folder / "rb.yaml").write_text(runbook("Nobody", 1, 0.0).replace("type: noop", "type: shell_command", 1))
    (folder / "quell.yaml").write_text(f"database: {folder}/quell.db\nserver: {{port: 0}}\n")
    began = time.perf_counter()
    log = (folder / "log").open("wb")
    server = subprocess.Popen(
        [*QUELL, "serve", "--config", str(folder / "quell.yaml")], stdout=subprocess.PIPE, stderr=log
    )
    try:
        assert server.stdout is not None
        port = _port(server.stdout)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("POST", "/webhooks/alertmanager", webhook("Bench", 1), {"content-type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        spent = time.perf_counter() - began
        assert answer.status < 300, answer.status
        time.sleep(3.0)
        return spent, _resident_mb(server.pid)
    finally:
        server.terminate()
        server.wait(15)


def _port(stdout: Any) -> int:
    for line in stdout:
        if found := re.search(rb"http://127\.0\.0\.1:(\d+)", line):
            return int(found[1])
    raise RuntimeError("the server did not say where it listens")


def _resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1_048_576


def measure() -> dict[str, Any]:
    example = str(Path(__file__).parent.parent / "examples/checkout-bad-deploy.yaml")
    return {
        "version_s": seconds([*QUELL, "--version"]),
        "lint_one_s": seconds([*QUELL, "lint", example]),
        "lint_thousand_s": lint_thousand(),
        **serve(),
    }


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))

"""How long an incident lies when the worker that has it is killed, or hangs, until another one goes on with it.

Real processes over one PostgreSQL, with the lease that they have unless told otherwise. The incident is in the middle
of its check, which says when it is begun: what is told is from the signal to the moment at which the other worker
begins it again. A killed process is known to be gone by those on its machine; one that hangs, as one whose machine is
lost, is waited for until its lease has run out.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from bench.processes import Client, Worker
from bench.waiting import LOOK, book, write_site
from bench.workers import SLOW, full_server
from quell.settings import EngineSettings
from tests.cli.command import Served
from tests.servers.process import wait_until

LEASE_S = EngineSettings().lease
ROUNDS = 3
LOOKS = ["/bin/sh", "-c", 'echo $PPID $(date +%s.%N) >> "looks-$0"; sleep 1; echo 1', "${incident.service}"]
"""Says who looks and since when, and takes long enough to be cut off in the middle."""


def measure(url: str) -> dict[str, Any]:
    """Each of a few rounds. ``url``: of an empty database."""
    services = [f"s{n}" for n in range(2 * ROUNDS)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "long.json").write_text(json.dumps(book("long", "P2", {**LOOK, "config": {"command": LOOKS}}, SLOW)))
        with full_server(folder, url, services) as server:
            write_site(folder, [*services, "other"])
            took = _rounds(folder, url, server, services)
    return {"lease_s": LEASE_S, "killed_s": took[::2], "hung_s": took[1::2]}


def _rounds(folder: Path, url: str, server: Served, services: list[str]) -> list[float]:
    """Killed, hung, killed, …; whoever is lost is replaced."""
    workers, took = dict[int, Worker](), list[float]()
    try:
        for number, service in enumerate(services):
            while len(workers) < 2:
                worker = Worker(folder, url)
                workers[worker.process.pid] = worker
                worker.ready()
            Client(server).trigger("long", service)
            loser = int(_look(folder, service, 1)[0])
            lost_at = workers[loser].hang() if number % 2 else workers[loser].kill()
            took.append(round(float(_look(folder, service, 2)[1]) - lost_at, 2))
            workers.pop(loser).end()
    finally:
        for worker in workers.values():
            worker.end()
    return took


def _look(folder: Path, service: str, number: int) -> list[str]:
    """Who looked for the first, the second, … time, and when."""
    path = folder / f"looks-{service}"

    def lines() -> list[str]:
        return path.read_text().splitlines() if path.exists() else []

    wait_until(lambda: len(lines()) >= number, f"look {number} of {service}", 4 * LEASE_S)
    return lines()[number - 1].split()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", required=True, help="URL of an empty PostgreSQL database")
    print(json.dumps(measure(parser.parse_args().database), indent=2))


if __name__ == "__main__":
    main()

"""Incidents per second that one `quell worker` and two of them handle, over one PostgreSQL.

The queue is full before they start: a server took the incidents in, and has no place for them. Each has one check, one
action of 200 ms and one look whether it helped. What is told is the pace of the middle part, when all workers work.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.processes import Client, Worker, log_of, trigger_all
from bench.waiting import FIX, LOOK, book, write_site
from quell.incident.event import EventKind
from tests.cli.command import Served, served
from tests.servers.process import wait_until

INCIDENTS, PLACES = 60, 1
RAMP, REST = 0.15, 0.1
"""The parts at the beginning and at the end that do not count."""

SLOW = {**FIX, "requires_approval": False, "action": {"type": "run_script", "config": {
    "command": ["/bin/sh", "-c", "sleep 0.2; : > done-$0"], "args": ["${incident.service}"],
    "target": "${incident.service}"}}}  # fmt: skip
BUSY = {**FIX, "requires_approval": False, "action": {"type": "run_script", "config": {
    "command": ["/bin/sh", "-c", ": > busy; while [ ! -e go ]; do sleep 0.2; done"], "target": "busy"}},
    "timeout": "1h"}  # fmt: skip


@contextlib.contextmanager
def full_server(folder: Path, url: str, services: list[str]) -> Iterator[Served]:
    """A server that takes incidents in and whose only place is taken."""
    (folder / "slow.json").write_text(json.dumps(book("slow", "P2", LOOK, SLOW)))
    (folder / "busy.json").write_text(json.dumps(book("busy", "P1", LOOK, BUSY)))
    write_site(folder, [*services, "other"], engine={"places": 1, "drain": "1s"})
    with served(folder, "--db", url) as server:
        Client(server).trigger("busy", "other")
        wait_until((folder / "busy").exists, "the server is busy", 30)
        try:
            yield server
        finally:
            (folder / "go").touch()


def measure(url: str, workers: int, places: int = PLACES, count: int = INCIDENTS) -> float:
    """Incidents per second. ``url``: of an empty database."""
    services = [f"s{n}" for n in range(count)]
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        server = stack.enter_context(full_server(folder, url, services))
        incidents = trigger_all(server, "slow", services)
        # The same configuration, but for the places that a worker has.
        write_site(folder, [*services, "other"], engine={"places": places})
        for worker in [Worker(folder, url) for _ in range(workers)]:
            stack.callback(worker.end)
            worker.ready()
        with log_of(url) as log:
            ended = sorted(log.wait_for(EventKind.RUN_ENDED, incidents, 300).values())
    first, last = int(count * RAMP), int(count * (1 - REST))
    return (last - first) / (ended[last] - ended[first])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", required=True, help="URL of an empty PostgreSQL database")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--places", type=int, default=PLACES)
    parser.add_argument("--incidents", type=int, default=INCIDENTS)
    options = parser.parse_args()
    told = measure(options.database, options.workers, options.places, options.incidents)
    print(json.dumps({"incidents_per_s": round(told, 2)}))


if __name__ == "__main__":
    main()

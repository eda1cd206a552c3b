"""Real processes of Quell to be measured: what one takes of the machine, and what the log of its database says.

Times are this machine's, as those in the log are. Never does: measure by itself.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from quell import local
from quell.incident.event import EventKind
from quell.store.database import make_engine
from quell.store.schema import events
from tests.cli.command import QUELL, Served, environment
from tests.servers.process import wait_until

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """What a process has had of the cores so far, with the programs that it started and that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / TICKS


def memory_mb(pid: int) -> float:
    """What is its alone and its part of what it shares (PSS)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("the kernel does not tell what a process weighs")


def at_rest(pid: int, settle_s: float, for_s: float) -> tuple[float, float]:
    """What it takes when nothing happens: per cent of one core, and megabytes."""
    time.sleep(settle_s)
    before, began = cpu_s(pid), time.monotonic()
    time.sleep(for_s)
    return 100 * (cpu_s(pid) - before) / (time.monotonic() - began), memory_mb(pid)


class Client:
    """One connection to a server that is kept, as whoever runs it. Not to be shared by threads."""

    def __init__(self, server: Served) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        key = {"authorization": f"Bearer {local.read(server.address)}", "content-type": "application/json"}
        self._headers = key

    def post(self, path: str, body: Any) -> Any:
        self._connection.request("POST", path, json.dumps(body), self._headers)
        answer = self._connection.getresponse()
        told = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"POST {path}: {answer.status} {told[:500]!r}")
        return json.loads(told)

    def trigger(self, runbook: str, service: str) -> str:
        told = self.post("/incidents/trigger", {"runbookId": runbook, "service": service})
        return str(told.get("incidentId") or told["execution"]["incidentId"])


def trigger_all(server: Served, runbook: str, services: list[str], side_by_side: int = 4) -> list[str]:
    """One incident for each service, by a few who ask at once."""
    parts = [services[n::side_by_side] for n in range(side_by_side)]

    def begin(part: list[str]) -> list[str]:
        client = Client(server)
        return [client.trigger(runbook, service) for service in part]

    with ThreadPoolExecutor(side_by_side) as pool:
        return [one for found in pool.map(begin, parts) for one in found]


class Log:
    """The events in a database, as another process reads them."""

    def __init__(self, url: str) -> None:
        self._engine = make_engine(url)

    def at(self, kind: EventKind) -> dict[str, float]:
        """Incident → when it was first told, in seconds since 1970."""
        query = (
            sa.select(events.c.stream_id, sa.func.min(events.c.at))
            .where(events.c.kind == kind.value)
            .group_by(events.c.stream_id)
        )
        with self._engine.connect() as connection:
            return {incident: at / 1_000_000 for incident, at in connection.execute(query)}

    def wait_for(
        self, kind: EventKind, incidents: list[str], within: float, *, instead: EventKind | None = None
    ) -> dict[str, float]:
        """Until it has been told of all of them. ``instead``: what must not have been told of any."""
        found: dict[str, float] = {}

        def told() -> bool:
            time.sleep(0.1)  # whoever measures should not be what is measured
            found.update(self.at(kind))
            if instead is not None and (other := self.at(instead).keys() & set(incidents)):
                raise RuntimeError(f"{instead.value} of {len(other)} incidents that should have come to {kind.value}")
            return found.keys() >= set(incidents)

        wait_until(told, f"{kind.value} of {len(incidents)} incidents", within)
        return {one: found[one] for one in incidents}

    def close(self) -> None:
        self._engine.dispose()


@contextlib.contextmanager
def log_of(url: str) -> Iterator[Log]:
    log = Log(url)
    try:
        yield log
    finally:
        log.close()


class Worker:
    """A `quell worker` in a process of its own, by the `quell.yaml` of its folder."""

    def __init__(self, folder: Path, url: str) -> None:
        self._log = (folder / "worker.log").open("ab")
        self.process = subprocess.Popen(
            [*QUELL, "worker", "--json", "--db", url], cwd=folder, env=environment(), stdout=subprocess.PIPE,
            stderr=self._log,
        )  # fmt: skip

    def ready(self) -> None:
        """When this comes back, it takes work."""
        assert self.process.stdout is not None
        if not self.process.stdout.readline():
            raise RuntimeError("the worker did not start")

    def kill(self) -> float:
        """As ``kill -9``. Returns when."""
        at = time.time()
        self.process.kill()
        self.process.wait(20)
        return at

    def hang(self) -> float:
        """As a machine that is gone for the others. Returns when."""
        at = time.time()
        self.process.send_signal(signal.SIGSTOP)
        return at

    def end(self) -> None:
        """Whatever it is doing, it is gone afterwards."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(20)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._log.close()

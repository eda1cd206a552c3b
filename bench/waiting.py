"""Many incidents that wait for an approval: what a server takes meanwhile, and how soon an answer has its effect.

A real `quell serve`, as it comes. Idle is the same server before the first incident; then so many wait, and it is
measured again: processor time from /proc for 20 s after a settling time, memory as PSS. While they wait, as many P1
come at once as a server has places, with a check of a second each: how many were looked at side by side says how many
places were free for them. Then approvals are answered, the next when the run of the last has ended; what is told is
from the moment the answer is sent to the moment at which the log says that the action begins.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from bench.processes import Client, Log, at_rest, log_of, memory_mb, trigger_all
from quell.incident.event import EventKind
from quell.settings import EngineSettings
from quell.store.database import make_engine
from quell.store.schema import approvals
from tests.cli.command import Served, served

PLACES = EngineSettings().places
SETTLE_S, IDLE_S = 5.0, 20.0
ANSWERED = 200
FILLED_WITHIN_S = 300.0

STATE = ["/bin/sh", "-c", "test -e done-$0 && echo 0 || echo 1", "${incident.service}"]
LOOK = {"id": "state", "type": "shell_command", "config": {"command": STATE},
        "interpret": {"healthy": "value == 0", "critical": "value > 0"}}  # fmt: skip
FIX = {"id": "fix", "type": "automated", "requires_approval": True, "action": {"type": "run_script", "config": {
    "command": ["/bin/sh", "-c", ": > done-$0"], "args": ["${incident.service}"],
    "target": "${incident.service}"}}}  # fmt: skip
VERIFY = {"signals": ["state"], "stable_for": "0s", "within": "5s", "every": "100ms"}


def book(name: str, severity: str, look: Mapping[str, Any], fix: Mapping[str, Any]) -> dict[str, Any]:
    """A runbook of one check and one action."""
    return {
        "id": name, "severity": severity, "triggers": [{"type": "manual"}], "diagnostics": [look],
        "decision_tree": [{"condition": "state.critical", "then": ["fix"]}], "remediations": [fix], "verify": VERIFY,
        "escalation": {"primary": "log:"},
    }  # fmt: skip


def write_site(folder: Path, services: list[str], **more: Any) -> None:
    """The configuration: one service for each incident, and nobody asked because the last one was repaired too."""
    settings = {
        "runbooks": [str(path) for path in sorted(folder.glob("*.json"))],
        "services": {service: {} for service in services}, "guardrails": {"breaker": {"enabled": False}},
        "server": {"trigger_wait": "10ms"}, "audit": {"every": "0s"}, **more,
    }  # fmt: skip
    (folder / "quell.yaml").write_text(json.dumps(settings))


def measure(url: str, count: int) -> dict[str, Any]:
    """``url``: of an empty database on PostgreSQL; empty for a new SQLite file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        waiting, urgent = [f"s{n}" for n in range(count)], [f"u{n}" for n in range(PLACES)]
        second = {**LOOK, "config": {"command": ["/bin/sh", "-c", "sleep 1; echo 1"]}}
        (folder / "waits.json").write_text(json.dumps(book("waits", "P2", LOOK, FIX)))
        (folder / "urgent.json").write_text(json.dumps(book("urgent", "P1", second, FIX)))
        write_site(folder, waiting + urgent)
        where = url or str(folder / "quell.db")
        with served(folder, "--db", where) as server, log_of(where) as log:
            return _measure(server, log, where, waiting, urgent)


def _measure(server: Served, log: Log, where: str, waiting: list[str], urgent: list[str]) -> dict[str, Any]:
    pid = server.process.pid
    time.sleep(SETTLE_S)
    idle_mb = memory_mb(pid)
    incidents = trigger_all(server, "waits", waiting)
    log.wait_for(EventKind.APPROVAL_REQUESTED, incidents, FILLED_WITHIN_S, instead=EventKind.RUN_ENDED)
    cpu, mb = at_rest(pid, SETTLE_S, IDLE_S)
    at_once = _side_by_side(server, log, urgent)
    resumed = _answered(server, log, where, incidents[: min(ANSWERED, len(incidents))])
    return {
        "waiting": len(waiting), "cpu_percent": round(cpu, 2),
        "idle_mb": round(idle_mb, 1), "more_mb": round(mb - idle_mb, 1), "places": PLACES, "p1_at_once": at_once,
        "resumed_ms": resumed,
    }  # fmt: skip


def _side_by_side(server: Served, log: Log, urgent: list[str]) -> int:
    """How many of the P1 were looked at in the same moment."""
    incidents = trigger_all(server, "urgent", urgent, len(urgent))
    ended = log.wait_for(EventKind.CHECK_FINISHED, incidents, 60)
    spans = [(ended[one] - 1.0, ended[one]) for one in incidents]
    return max(sum(began <= at < end for began, end in spans) for at, _ in spans)


def _answered(server: Served, log: Log, where: str, incidents: list[str]) -> dict[str, float]:
    client, asked, sent = Client(server), _asked(where), dict[str, float]()
    for incident in incidents:
        sent[incident] = time.time()
        client.post(f"/api/v1/approvals/{asked[incident]}/approve", {"by": "ann"})
        log.wait_for(EventKind.RUN_ENDED, [incident], 60)
    intended = log.wait_for(EventKind.ACTION_INTENDED, incidents, 60)
    took = sorted((intended[one] - sent[one]) * 1000 for one in incidents)
    p99 = took[math.ceil(len(took) * 0.99) - 1]
    return {"p50": round(statistics.median(took), 1), "p99": round(p99, 1), "most": round(took[-1], 1)}


def _asked(where: str) -> dict[str, str]:
    """Incident → its approval."""
    engine = make_engine(where)
    try:
        with engine.connect() as connection:
            found = connection.execute(sa.select(approvals.c.incident, approvals.c.id))
            return {row.incident: row.id for row in found}
    finally:
        engine.dispose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", default="", help="URL of an empty PostgreSQL database; default: a SQLite file")
    parser.add_argument("--incidents", type=int, default=200)
    options = parser.parse_args()
    print(json.dumps(measure(options.database, options.incidents), indent=2))


if __name__ == "__main__":
    main()

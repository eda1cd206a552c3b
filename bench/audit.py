"""Events per second that an audit of the whole log verifies, on one core, from a SQLite file to the verdict."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from quell.incident.event import EventKind, NewEvent, Stream
from quell.store import audit, events
from quell.store.database import Database
from quell.store.migrate import migrate

STREAMS, EACH, ROUNDS = 1_000, 40, 5
FINDING = {
    "check": "error-rate", "target": "shop", "status": "critical", "summary": "5xx at 12.5 % of requests",
    "value": 12.5,
    "facts": {"errors": 125, "requests": 1000, "pods": ["shop-1", "shop-2", "shop-3"]}, "duration_ms": 41.7,
    "asked": "sum(rate(http_requests_total{code=~'5..'}[1m]))", "observed_at": "2026-11-28T10:00:00.123456Z",
}  # fmt: skip


def fill(database: Database) -> None:
    """Streams as incidents leave them: mostly findings."""
    new = [
        NewEvent(
            kind=EventKind.CHECK_FINISHED, payload={"finding": FINDING, "visit": n}, node=f"run:i.1/check-{n}/1/shop"
        )
        for n in range(EACH)
    ]

    def all_at_once(connection: sa.Connection) -> None:
        for n in range(STREAMS):
            events.append(connection, "default", Stream.SYSTEM, f"incident-{n}", new)

    database.write_now(all_at_once)


def measure() -> dict[str, Any]:
    """The best of a few rounds."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(str(Path(folder, "quell.db")))
        try:
            migrate(database.engine)
            fill(database)
            best = 0.0
            for _ in range(ROUNDS):
                began = time.perf_counter()
                with database.engine.connect() as connection:
                    report = audit.verify(connection)
                spent = time.perf_counter() - began
                assert report.holds, report.faults[:3]
                assert report.events == STREAMS * EACH
                best = max(best, report.events / spent)
        finally:
            database.close()
    return {"events_per_s": round(best), "events": STREAMS * EACH}


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    print(json.dumps(measure()))

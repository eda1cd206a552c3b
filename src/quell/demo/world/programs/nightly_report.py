"""The nightly report: a batch program of another team that works on the payment ledger.

SIGUSR1 starts a run (a timer does so at night). A run takes the ledger's write lock, so that no payment moves while
it adds up, and writes its result for whoever collects it. A run that a restart cut off is marked as abandoned, and
is not started again. It never gives up waiting for its reader, which is the fault of its design.
"""

from __future__ import annotations

import os
import queue
import signal
import sqlite3
import sys
import time

from quell.demo.world.programs import wire
from quell.demo.world.programs.ledger import connect

PROGRAM = "nightly-report"


def run(connection: sqlite3.Connection, target: str, log: wire.Log) -> None:
    """One report: what was paid, per currency, with the ledger standing still."""
    started = connection.execute(
        "INSERT INTO batch_runs (program, pid, started_at, outcome) VALUES (?, ?, ?, 'running')",
        (PROGRAM, os.getpid(), time.time()),
    )
    log.line("info", "report_started", pid=os.getpid(), holds="ledger write lock", target=target)
    connection.execute("BEGIN IMMEDIATE")
    rows = connection.execute("SELECT currency, COUNT(*), SUM(cents) FROM payments GROUP BY currency").fetchall()
    with open(target, "w", encoding="utf-8") as file:  # blocks while the target is a pipe that nobody reads
        file.writelines(f"{currency},{count},{cents}\n" for currency, count, cents in rows)
    connection.execute(
        "UPDATE batch_runs SET finished_at = ?, outcome = 'done' WHERE id = ?", (time.time(), started.lastrowid)
    )
    connection.execute("COMMIT")
    log.line("info", "report_finished", currencies=len(rows))


def main() -> None:
    """``nightly_report.py LEDGER TARGET LOG``"""
    ledger, target, log_path = sys.argv[1:4]
    wire.hold_lifeline()
    log = wire.Log(log_path, service=PROGRAM)
    wanted: queue.SimpleQueue[None] = queue.SimpleQueue()
    signal.signal(signal.SIGUSR1, lambda *_: wanted.put(None))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = connect(ledger, busy_s=5.0)
    cut_off = connection.execute(
        "UPDATE batch_runs SET finished_at = ?, outcome = 'abandoned' WHERE finished_at IS NULL", (time.time(),)
    )
    log.line("info", "waiting_for_the_night", abandoned=cut_off.rowcount, pid=os.getpid())
    while True:
        wanted.get()
        run(connection, target, log)


if __name__ == "__main__":
    main()

"""The payments database of the acceptance test: a small real PostgreSQL, its roles, and sessions that hold it.

Of 20 slots 3 are kept for superusers; the exporter has taken 2 of the others before anything happens. Never ends a
session itself: whether sessions live is what the test is about.
"""

from __future__ import annotations

import contextlib
import re
import select
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg

from tests.servers.postgres import Postgres
from tests.servers.process import wait_until

SLOTS, RESERVED = 20, 3
DATABASE = "payments"
LEAKING, OTHER = "payments_app", "payments_reports"
RIGHTS = f"""\
CREATE ROLE monitor LOGIN IN ROLE pg_monitor;
CREATE ROLE {LEAKING} LOGIN;
CREATE ROLE {OTHER} LOGIN;
CREATE ROLE quell LOGIN;
CREATE ROLE quell_reserved LOGIN SUPERUSER;
CREATE DATABASE {DATABASE};
"""
"""Before PostgreSQL 16 only superusers are admitted to reserved slots."""


@dataclass
class Held:
    """A session and who it is on the server."""

    connection: psycopg.Connection[Any]
    pid: int

    @property
    def lives(self) -> bool:
        """Whether the server still answers in it. Do not ask of one that a thread uses."""
        try:
            self.connection.execute("SELECT 1")
        except psycopg.Error:
            return False
        return True


SLOT_WITHIN_S = 3.0


@dataclass
class Payments:
    """`server` and the sessions that the test has opened on it."""

    server: Postgres
    opened: list[psycopg.Connection[Any]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _busy: list[threading.Thread] = field(default_factory=list)

    def session(self, role: str, application: str = "payments", *, in_transaction: bool, patient: bool = True) -> Held:
        """Raises psycopg.OperationalError when the server has no slot for `role`."""
        connection = self._connected(role, application, SLOT_WITHIN_S if patient else 0.0)
        self.opened.append(connection)
        connection.autocommit = not in_transaction
        connection.execute("SELECT 1")
        return Held(connection, connection.info.backend_pid)

    def _connected(self, role: str, application: str, within_s: float) -> psycopg.Connection[Any]:
        """A slot that somebody else takes for a moment (a scrape, a look) comes back; only a lasting refusal counts."""
        deadline = time.monotonic() + within_s
        while True:
            try:
                return psycopg.connect(self.server.url(DATABASE, role), application_name=application)
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def leave_open(self, role: str, count: int) -> list[Held]:
        """`count` transactions begun and forgotten."""
        return [self.session(role, in_transaction=True) for _ in range(count)]

    def keep_busy(self, held: Held) -> None:
        """Use a session's transaction all the time, as somebody does who has not forgotten it."""

        def work() -> None:
            with contextlib.suppress(psycopg.Error):
                while not self._stop.wait(0.05):
                    held.connection.execute("SELECT 1")

        self._work(work)

    def _work(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work)
        thread.start()
        self._busy.append(thread)

    def leak_again_and_again(self, role: str, count: int) -> set[int]:
        """A pool that forgets `count` transactions and opens a new one for each that ends. Its first process ids."""
        pool = self.leave_open(role, count)

        def refill() -> None:
            while not self._stop.wait(0.05):
                for number, held in enumerate(pool):
                    if _cut(held.connection):
                        with contextlib.suppress(psycopg.OperationalError):
                            pool[number] = self.session(role, in_transaction=True)

        self._work(refill)
        return {one.pid for one in pool}

    def wait_until_forgotten(self, count: int, seconds: float) -> None:
        """Until `count` transactions have been idle for `seconds`."""
        wait_until(
            lambda: self.ask("SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' AND "
                             "state_change < now() - %s * interval '1 second'", seconds) >= count,
            "forgotten transactions", 10,
        )  # fmt: skip

    def ask(self, query: str, *values: Any) -> Any:
        """The first value of a query, on a reserved slot."""
        rows = self.server.execute(query, *values)
        return rows[0][0] if rows else None

    def limit(self, role: str) -> int:
        """A role's connection limit; -1 is none."""
        return int(self.ask("SELECT rolconnlimit FROM pg_roles WHERE rolname = %s", role))

    def pids(self) -> set[int]:
        """Who has a session now."""
        return {row[0] for row in self.server.execute("SELECT pid FROM pg_stat_activity WHERE datname = %s", DATABASE)}

    def logged(self, words: str) -> float:
        """When (epoch seconds) the server logged the first line that matches `words`."""
        for line in (self.server.folder / "server.log").read_text(errors="replace").splitlines():
            if re.search(words, line):
                return float(line.split()[0])
        raise AssertionError(f"PostgreSQL has not logged {words!r}")

    def release(self) -> None:
        self._stop.set()
        for thread in self._busy:
            thread.join(10)
        for connection in self.opened:
            connection.close()
        for role in (LEAKING, OTHER):
            self.server.execute(f"ALTER ROLE {role} CONNECTION LIMIT -1")


def _cut(connection: psycopg.Connection[Any]) -> bool:
    """Whether the server has ended the session; asks nothing of it, so that its transaction stays forgotten."""
    return bool(select.select([connection.fileno()], [], [], 0)[0])


@contextlib.contextmanager
def payments_server() -> Iterator[Postgres]:
    """Logs each change of a role with its time (epoch seconds)."""
    settings: dict[str, str | int] = {
        "superuser_reserved_connections": RESERVED,
        "log_line_prefix": "%n ",
        "log_statement": "ddl",
    }
    with Postgres(max_connections=SLOTS, settings=settings) as server:
        for statement in RIGHTS.splitlines():
            server.execute(statement)
        yield server

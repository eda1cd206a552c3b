"""The ledger as the payment service uses it: a bounded pool of SQLite connections, and what is booked through them.

One writer at a time (``BEGIN IMMEDIATE``), readers beside it (WAL). Never opens more connections than the pool's
size, and never waits longer than it was told.
"""

from __future__ import annotations

import sqlite3
import threading
import time

SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS accounts (id INTEGER PRIMARY KEY, balance_cents INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS payments (
    id TEXT PRIMARY KEY, account INTEGER NOT NULL REFERENCES accounts (id), cents INTEGER NOT NULL,
    currency TEXT NOT NULL, fee_cents INTEGER NOT NULL, status TEXT NOT NULL, replica TEXT NOT NULL,
    booked_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS payments_open ON payments (status) WHERE status <> 'settled';
CREATE TABLE IF NOT EXISTS batch_runs (
    id INTEGER PRIMARY KEY, program TEXT NOT NULL, pid INTEGER NOT NULL, started_at REAL NOT NULL,
    finished_at REAL, outcome TEXT NOT NULL
);
"""
ACCOUNTS = 50
BOOK = "INSERT INTO payments VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING"


class PoolExhausted(Exception):
    """Every connection is taken and none came back in time."""


class NoSuchAccount(Exception):
    """The ledger refuses a payment of an account it does not have."""


class LedgerLocked(Exception):
    """Somebody else held the write lock for longer than we wait."""


def create(path: str) -> None:
    """Make an empty ledger with funded accounts."""
    with sqlite3.connect(path) as connection:
        connection.executescript(SCHEMA)
        rows = [(number, 1_000_000_000) for number in range(ACCOUNTS)]
        connection.executemany("INSERT OR IGNORE INTO accounts VALUES (?, ?)", rows)
    connection.close()


def connect(path: str, busy_s: float) -> sqlite3.Connection:
    """A connection in autocommit mode that waits `busy_s` for the write lock."""
    connection = sqlite3.connect(path, timeout=busy_s, isolation_level=None, check_same_thread=False)
    connection.executescript("PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON")
    return connection


class Pool:
    """At most `size` connections, opened when first needed. Who takes one gives it back."""

    def __init__(self, path: str, size: int, wait_s: float, busy_s: float) -> None:
        self.size = size
        self._path, self._wait_s, self._busy_s = path, wait_s, busy_s
        self._idle: list[sqlite3.Connection] = []
        self._taken = 0
        self._returned = threading.Condition()

    @property
    def in_use(self) -> int:
        """Connections taken and not given back."""
        return self._taken

    def take(self) -> sqlite3.Connection:
        """A connection for the caller alone; `PoolExhausted` after the pool's waiting time."""
        with self._returned:
            if not self._returned.wait_for(lambda: self._taken < self.size, self._wait_s):
                raise PoolExhausted(f"{self._taken} of {self.size} connections in use")
            self._taken += 1
            return self._idle.pop() if self._idle else connect(self._path, self._busy_s)

    def give_back(self, connection: sqlite3.Connection) -> None:
        """Return what `take` gave."""
        with self._returned:
            self._taken -= 1
            self._idle.append(connection)
            self._returned.notify()


class Ledger:
    """What the service books. Every method takes one connection of the pool for its own duration."""

    def __init__(self, pool: Pool, replica: str) -> None:
        self._pool, self._replica = pool, replica

    def book(self, payment: str, account: int, cents: int, currency: str, fee: int, status: str) -> None:
        """One payment in one transaction; booking the same id again changes nothing."""
        row = (payment, account, cents, currency, fee, status, self._replica, time.time())
        connection = self._pool.take()
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                new = connection.execute(BOOK, row)
                if new.rowcount:
                    change = "UPDATE accounts SET balance_cents = balance_cents - ? WHERE id = ?"
                    connection.execute(change, (cents + fee, account))
                connection.execute("COMMIT")
            except sqlite3.Error:
                connection.execute("ROLLBACK")
                raise
        except sqlite3.IntegrityError as error:
            raise NoSuchAccount(f"account {account}: {error}") from error
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise LedgerLocked(str(error)) from error
            raise
        finally:
            self._pool.give_back(connection)

    def claim_queued(self, limit: int) -> list[tuple[str, int]]:
        """Queued payments as (id, cents), now marked as being settled by us."""
        connection = self._pool.take()
        try:
            if not connection.execute("SELECT 1 FROM payments WHERE status = 'queued' LIMIT 1").fetchone():
                return []
            return connection.execute(
                "UPDATE payments SET status = 'settling' WHERE id IN"
                " (SELECT id FROM payments WHERE status = 'queued' LIMIT ?) RETURNING id, cents",
                (limit,),
            ).fetchall()
        finally:
            self._pool.give_back(connection)

    def mark(self, payments: list[str], status: str) -> None:
        """Set the status of payments."""
        connection = self._pool.take()
        try:
            connection.executemany(
                "UPDATE payments SET status = ? WHERE id = ?", [(status, payment) for payment in payments]
            )
        finally:
            self._pool.give_back(connection)

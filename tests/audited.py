"""What the audit finds in a database, for tests that have done something to it. Never does: write."""

from __future__ import annotations

from quell.store import audit
from quell.store.chain import Fault
from quell.store.database import Database


def faults(database: Database) -> list[Fault]:
    """Beside whoever writes to it."""
    with database.engine.connect() as connection:
        return audit.verify(connection).faults

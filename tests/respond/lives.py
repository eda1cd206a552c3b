"""A process that can die at any moment, inside of this one: from then on nothing that it does reaches the database.

Each statement and each commit is a moment; what was open is rolled back, as the database does for one that is gone.
Its memory goes too. Never does: flush, say goodbye. (Real processes are killed in ``test_crash``.)
"""

from __future__ import annotations

import sqlite3
import threading
from typing import Any

import sqlalchemy as sa

from quell.engine.tables import executors
from quell.store import folds
from quell.store.database import Database, make_engine


class Life:
    """One process. ``left``: after how many moments more it dies; None: it does not. ``dies_acting``: at the next
    effect, in the middle of it."""

    def __init__(self) -> None:
        self.dead, self.dies_acting = False, False
        self.left: int | None = None
        self._lock = threading.Lock()

    def moment(self) -> bool:
        """Whether it is dead by now."""
        with self._lock:
            if self.left is not None:
                self.left -= 1
                self.dead = self.dead or self.left < 0
            return self.dead

    def acts(self) -> None:
        self.dead = self.dead or self.dies_acting

    def of(self, database: Database) -> None:
        """From now on the database hears of this process only while it lives."""
        for engine in {database.engine, database.steps, database._writing}:
            for moment in ("before_cursor_execute", "commit"):
                sa.event.listen(engine, moment, self._passes)

    def _passes(self, *_: Any) -> None:
        if self.moment():
            raise sa.exc.OperationalError("nothing", None, sqlite3.OperationalError("this process is dead"))


def mourn(url: str) -> None:
    """What the next process finds of one that is gone: its lease has run out, and nothing is remembered."""
    folds._folds.clear()
    engine = make_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.update(executors).where(executors.c.ended_at.is_(None)).values(lease_until=0))
    engine.dispose()

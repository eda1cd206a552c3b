"""The durable library's past: which workflows have ended long ago, and their rows with all that hangs on them.

Works without an engine that is launched, so that it can be done beside a server or without one. Never does: touch a
workflow that has not ended; know what one was about.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from dbos import DBOSClient

from quell.engine.durable import APPLICATION, JsonSerializer

_ENDED = ("SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")


class Workflows:
    """Of the database behind ``engine``, which stays the caller's."""

    def __init__(self, engine: sa.Engine) -> None:
        self._client = DBOSClient(
            system_database_engine=engine, serializer=JsonSerializer(), application_name=APPLICATION, lazy=True
        )
        self._table = self._client._sys_db.tables.workflow_status
        with engine.connect() as connection:
            # A database in which nothing has ever run has no such table.
            self._there = sa.inspect(connection).has_table(self._table.name, schema=self._table.schema)

    def going_on(self, connection: sa.Connection) -> list[str]:
        """All that have not ended."""
        if not self._there:
            return []
        return list(connection.execute(sa.select(self._id).where(self._table.c.status.not_in(_ENDED))).scalars())

    def ended(self, connection: sa.Connection, before_us: int, after: str, limit: int) -> list[str]:
        """Some that ended before a moment, in the order of their ids, behind the id ``after``."""
        if not self._there:
            return []
        old = (self._table.c.status.in_(_ENDED), self._table.c.updated_at < before_us // 1000, self._id > after)
        return list(connection.execute(sa.select(self._id).where(*old).order_by(self._id).limit(limit)).scalars())

    def delete(self, workflows: Sequence[str]) -> int:
        """With steps, messages, events and streams, in a transaction of the library's own."""
        self._client.delete_workflows(list(workflows))
        return len(workflows)

    @property
    def _id(self) -> sa.Column[str]:
        column: sa.Column[str] = self._table.c.workflow_uuid
        return column

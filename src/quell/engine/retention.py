"""The durable library's past: which workflows have ended long ago, and their rows with all that hangs on them.

Works without an engine that is launched, so that it can be done beside a server or without one. Never does: touch a
workflow that has not ended; know what one was about.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from dbos import DBOSClient

from quell.engine.durable import APPLICATION
from quell.engine.serial import JsonSerializer

_ENDED = ("SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")


class Workflows:
    """Of the database behind ``engine``, which stays the caller's."""

    def __init__(self, engine: sa.Engine) -> None:
        self._client = DBOSClient(
            system_database_engine=engine, serializer=JsonSerializer(), application_name=APPLICATION, lazy=True
        )
        # The library's own table has a schema that only its engine knows how to read.
        schema = self._client._sys_db.schema
        names: list[sa.ColumnClause[Any]] = [sa.column(name) for name in ("workflow_uuid", "status", "updated_at")]
        self._table = sa.table("workflow_status", *names, schema=schema)
        with engine.connect() as connection:
            # A database in which nothing has ever run has no such table.
            self._there = sa.inspect(connection).has_table("workflow_status", schema=schema)

    def going_on(self, connection: sa.Connection) -> list[str]:
        """All that have not ended."""
        if not self._there:
            return []
        query = sa.select(self._table.c.workflow_uuid).where(self._table.c.status.not_in(_ENDED))
        return list(connection.execute(query).scalars())

    def ended(self, connection: sa.Connection, before_us: int, after: str, limit: int) -> list[str]:
        """Some that ended before a moment, in the order of their ids, behind the id ``after``."""
        if not self._there:
            return []
        name, status, at = self._table.c.workflow_uuid, self._table.c.status, self._table.c.updated_at
        old = sa.select(name).where(status.in_(_ENDED), at < before_us // 1000, name > after)
        return list(connection.execute(old.order_by(name).limit(limit)).scalars())

    def delete(self, workflows: Sequence[str]) -> int:
        """With steps, messages, events and streams, in a transaction of the library's own."""
        self._client.delete_workflows(list(workflows))
        return len(workflows)

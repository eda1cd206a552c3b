"""What the database says is claimed: by this process, and by each. Never does: know what runs (``claims`` does)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from quell.engine.claims import Fenced
from quell.engine.prepared import Prepared


class Claimed:
    """``stand_before`` the durable library once it runs."""

    def __init__(self, executor_id: str, *, queue: str) -> None:
        """``queue``: where what came through none goes back to."""
        self._executor_id, self._queue = executor_id, queue
        self._library: Any = None

    def stand_before(self, library: Any) -> None:
        self._library, table = library, library.tables.workflow_status
        claim = sa.bindparam("claim", type_=table.c.owner_xid.type)
        self._one = (
            table.c.workflow_uuid == sa.bindparam("one"), table.c.status == "PENDING",
            table.c.executor_id == sa.bindparam("me"), table.c.owner_xid.is_not_distinct_from(claim),
        )  # fmt: skip
        held = sa.select(table.c.workflow_uuid).where(*self._one)
        self._held = Prepared(held.with_for_update(read=True), library.engine)

    def here(self) -> dict[str, str | None]:
        """What this process has claimed and not ended, each with its claim."""
        table = self._library.tables.workflow_status
        query = sa.select(table.c.workflow_uuid, table.c.owner_xid).where(
            table.c.status == "PENDING", table.c.executor_id == self._executor_id
        )
        with self._library.engine.connect() as connection:
            return {row.workflow_uuid: row.owner_xid for row in connection.execute(query)}

    def fence(self, workflow_id: str, claim: str | None) -> Callable[[sa.Connection], None]:
        """For a transaction: raises ``Fenced`` unless this process has it, under this claim, until that has ended."""
        asked = self._asked(workflow_id, claim)

        def look(connection: sa.Connection) -> None:
            if self._held.run(connection, asked).first() is None:
                raise Fenced(workflow_id)

        return look

    def give_back(self, workflow_id: str, claim: str | None) -> bool:
        """As the recovery of a dead executor does it, but for one claim and no later one of this process."""
        table = self._library.tables.workflow_status
        queue = sa.func.coalesce(table.c.queue_name, self._queue)
        values = {"status": "ENQUEUED", "owner_xid": None, "started_at_epoch_ms": None, "queue_name": queue}
        back = sa.update(table).where(*self._one).values(values)
        with self._library.engine.begin() as connection:
            return bool(connection.execute(back, self._asked(workflow_id, claim)).rowcount)

    def _asked(self, workflow_id: str, claim: str | None) -> dict[str, str | None]:
        return {"one": workflow_id, "me": self._executor_id, "claim": claim}

    def by_executor(self, workflow: str) -> dict[str, list[str]]:
        """Executor → the workflows of this name that it has claimed and that have not ended."""
        table, found = self._library.tables.workflow_status, dict[str, list[str]]()
        query = sa.select(table.c.executor_id, table.c.workflow_uuid).where(
            table.c.status == "PENDING", table.c.name == workflow
        )
        with self._library.engine.connect() as connection:
            for executor, one in connection.execute(query):
                found.setdefault(executor, []).append(one)
        return found

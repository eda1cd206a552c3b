"""Workflows that a transaction of this process started, claimed for it in that very transaction.

So no queue has to be asked for them, and no second commit waited for: once the first is on disk, they begin. Of one
that was rolled back nothing is found, and it is forgotten; one whose beginning failed is begun at the next call. A
crash in between leaves what a crash of a running workflow leaves, and is mended like it. Never does: begin one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from uuid import uuid4

import sqlalchemy as sa

FORGOTTEN_AFTER_S = 60.0
"""A transaction that is not there by then was rolled back; should it come after all, it counts as lost work."""


@dataclass(frozen=True, slots=True)
class Claim:
    owner: str
    since: float = field(default_factory=time.monotonic)


class Started:
    """Of one process. ``claim`` is called by the threads that write, ``take`` by the event loop."""

    def __init__(self, executor_id: str) -> None:
        self._executor_id = executor_id
        self._waiting: dict[str, Claim] = {}
        self._claiming: sa.Update | None = None
        """Made once, with the library's table."""

    def claim(self, connection: sa.Connection, statuses: sa.Table, workflow_id: str) -> None:
        """As a worker claims what it finds in the queue. Nothing when somebody else has it already."""
        claim, now_ms = Claim(str(uuid4())), time.time_ns() // 1_000_000
        if self._claiming is None:
            mine = sa.update(statuses).where(
                statuses.c.workflow_uuid == sa.bindparam("one"), statuses.c.status == "ENQUEUED"
            )
            self._claiming = mine.values(
                status="PENDING", owner_xid=sa.bindparam("owner"), executor_id=self._executor_id,
                started_at_epoch_ms=sa.bindparam("now_ms"), updated_at=sa.bindparam("now_ms"),
                recovery_attempts=statuses.c.recovery_attempts + 1,
            )  # fmt: skip
        asked = {"one": workflow_id, "owner": claim.owner, "now_ms": now_ms}
        if connection.execute(self._claiming, asked).rowcount:
            self._waiting[workflow_id] = claim

    def take(self) -> dict[str, Claim]:
        """What waits to begin, to be begun by the caller alone."""
        taken, self._waiting = self._waiting, {}
        return taken

    def put_back(self, left: dict[str, Claim]) -> None:
        """What could not begin, or is not committed yet."""
        young = time.monotonic() - FORGOTTEN_AFTER_S
        for workflow_id, claim in left.items():
            if claim.since > young:
                self._waiting.setdefault(workflow_id, claim)

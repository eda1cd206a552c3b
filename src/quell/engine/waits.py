"""Whoever waits here for a message, asked about together: where the database does not tell, waiting is polling.

The durable library looks for the message of each wait by itself, a transaction each, once a second. So before it looks
for any, all of them are asked about at once, and it is shown only those whose message is there. Never does: wake a wait
(the library does), take a message.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

AT_ONCE = 500
"""How many waits one statement asks about."""


class Waits:
    """Of one process; ``stand_before`` the durable library's list of those who wait."""

    def __init__(self) -> None:
        self._library: Any = None
        self._everybody: Any = None

    def stand_before(self, library: Any) -> None:
        self._library, self._everybody = library, library.notifications_map.snapshot
        library.notifications_map.snapshot = self.told

    def told(self) -> list[Any]:
        """As the library's own, but for those whom nobody has told anything yet."""
        waits = self._everybody()
        there = self._messages(sorted({workflow for _, (workflow, _, _), _ in waits}))
        return [wait for wait in waits if wait[1][:2] in there]

    def _messages(self, workflows: list[str]) -> set[tuple[str, str]]:
        """For which workflow and topic there is one."""
        table, there = self._library.tables.notifications, set[tuple[str, str]]()
        if not workflows:
            return there
        with self._library.engine.begin() as connection:
            for start in range(0, len(workflows), AT_ONCE):
                query = sa.select(table.c.destination_uuid, table.c.topic).where(
                    table.c.destination_uuid.in_(workflows[start : start + AT_ONCE]), table.c.consumed.is_(False)
                )
                there.update((row.destination_uuid, row.topic) for row in connection.execute(query))
        return there

"""Whether an execution of a workflow has anything to replay: asked once, and not again before each of its steps.

What a workflow has done is kept under the claim of whoever runs it, and the database refuses everybody else's. So when
nothing was kept as this execution began, whatever is kept later it has kept itself, and needs no looking up. Never
does: keep anything.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import sqlalchemy as sa

ANY = ""
"""Whatever claim it runs under."""


class Replay:
    """Of one process; ``stand_before`` the durable library's look-up of what a step has answered."""

    def __init__(self) -> None:
        self._nothing: dict[str, bool | None] = {}
        """By workflow that runs here: nothing to replay, something, or not asked yet."""
        self._first: dict[str, str] = {}
        """Workflows that never ran before, by the claim they are about to run under."""
        self._library: Any = None
        self._look_up: Any = None
        self._reading: Any = None

    def stand_before(self, library: Any) -> None:
        self._library, self._look_up = library, library.check_operation_execution
        library.check_operation_execution = self.check
        claim = library.start_queued_workflows

        def claimed(*given: Any, **more: Any) -> Any:
            found, why = claim(*given, **more)
            self.forget(found)
            return found, why

        library.start_queued_workflows = claimed
        self._reading = library.engine.execution_options(isolation_level="AUTOCOMMIT")

    def is_first(self, workflow_id: str, claim: str) -> None:
        """The execution under this claim is the first that the workflow has."""
        self._first[workflow_id] = claim

    @contextlib.contextmanager
    def starting(self, child: str, parent: str | None) -> Iterator[None]:
        """Around the start of a child. A parent that had nothing to replay has not started it before: that is kept
        with it, in one transaction. So if it runs here, it runs for the first time."""
        first = parent is not None and self._nothing.get(parent) is True
        if first:
            self._first[child] = ANY
        try:
            yield
        except BaseException:
            self._first.pop(child, None)
            raise

    def forget(self, found: Iterable[str]) -> None:
        """What comes out of a queue may have run before, whatever was thought when it was started."""
        for workflow_id in found:
            self._first.pop(workflow_id, None)

    def has_nothing(self, workflow_id: str | None) -> bool:
        """Whether it is known, without asking, that nothing was kept of this workflow before this execution."""
        return workflow_id is not None and self._nothing.get(workflow_id) is True

    @contextlib.contextmanager
    def of(self, workflow_id: str, claim: str | None) -> Iterator[None]:
        """Around one execution, of which there is one at a time."""
        first = self._first.pop(workflow_id, None)
        self._nothing[workflow_id] = True if claim is not None and first in (claim, ANY) else None
        try:
            yield
        finally:
            del self._nothing[workflow_id]

    def check(self, workflow_id: str, function_id: int, function_name: str, **more: Any) -> Any:
        """As the library's own: None when the step has not been done."""
        # Its own steps (``DBOS.sleep``) look up what a try of theirs may have kept whose answer was lost.
        if not function_name.startswith("DBOS.") and self._has_nothing(workflow_id):
            return None
        return self._look_up(workflow_id, function_id, function_name, **more)

    def _has_nothing(self, workflow_id: str) -> bool:
        known = self._nothing.get(workflow_id, False)
        if known is None:
            try:
                known = self._nothing[workflow_id] = self._kept_nothing(workflow_id)
            except sa.exc.SQLAlchemyError:
                return False  # the look-up has the patience for a database that is away
        return known

    def _kept_nothing(self, workflow_id: str) -> bool:
        kept = self._library.tables.operation_outputs
        query = sa.select(kept.c.function_id).where(kept.c.workflow_uuid == workflow_id).limit(1)
        with self._reading.connect() as connection:
            return connection.execute(query).first() is None

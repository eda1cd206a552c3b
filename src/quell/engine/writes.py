"""The writing of the durable library that every run needs, each for a transaction that writes already. On SQLite only.

Each says what the library's own method of that name says, under the same claim, in statements that are compiled once.
Never does: begin or commit a transaction.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from dbos._context import current_owner_xid, get_local_dbos_context
from dbos._error import DBOSStepNondeterminismError, DBOSWorkflowConflictIDError

from quell.engine.prepared import Prepared

Write = Callable[[sa.Connection], Any]
_STEP = (
    "workflow_uuid", "function_id", "function_name", "started_at_epoch_ms", "completed_at_epoch_ms", "output", "error",
    "child_workflow_id", "serialization", "application_name",
)  # fmt: skip


class Writes:
    """Asked in the context of whoever writes: that says whose step it is, and under which claim."""

    def __init__(self, library: Any) -> None:
        self._library, tables = library, library.tables
        status, steps, output = tables.workflow_status, tables.operation_outputs, tables.workflow_output
        engine, now, insert = library.engine, library._now_ms_sql(), library.dialect.insert
        one = status.c.workflow_uuid == sa.bindparam("one")
        self._owner = Prepared(sa.select(status.c.owner_xid).where(one), engine)
        given = {name: sa.bindparam(name, type_=steps.c[name].type) for name in _STEP}
        step, by = insert(steps).values({**given, "retention_timestamp": now}), ["workflow_uuid", "function_id"]
        same = {"completed_at_epoch_ms": steps.c.completed_at_epoch_ms}
        kept = step.on_conflict_do_update(index_elements=by, set_=same)
        self._step = Prepared(kept.returning(steps.c.completed_at_epoch_ms, steps.c.child_workflow_id), engine)
        ended = {"deduplication_id": None, "owner_xid": None, "updated_at": now, "completed_at": now}
        end = sa.update(status).where(one, status.c.status == "PENDING").values(status=sa.bindparam("new"), **ended)
        self._end = Prepared(end, engine)
        self._end_owned = Prepared(end.where(status.c.owner_xid == sa.bindparam("claim")), engine)
        answer = insert(output).values({name: sa.bindparam(name) for name in ("workflow_uuid", "output", "error")})
        new = {"output": answer.excluded.output, "error": answer.excluded.error}
        self._answer = Prepared(answer.on_conflict_do_update(index_elements=["workflow_uuid"], set_=new), engine)

    def record_operation_result(
        self, result: Mapping[str, Any], *, completed_at_epoch_ms: int | None = None, owner_xid: str | None = None,
        owner_key: str | None = None,
    ) -> Write:  # fmt: skip
        """What a step has answered. ``owner_key``: of a sharded database, which this is not."""
        workflow_id = result["workflow_uuid"]
        claim, row = owner_xid or current_owner_xid(workflow_id), self._row(result, completed_at_epoch_ms)

        def write(connection: sa.Connection) -> None:
            self._is_owned(connection, workflow_id, claim)
            if self._step.run(connection, row).first()[0] != row["completed_at_epoch_ms"]:
                raise DBOSStepNondeterminismError(workflow_id, result["function_id"])

        return write

    def record_get_result(
        self, result_workflow_id: str, output: str | None, error: str | None, serialization: str | None,
        ctx: Any = None, *, started_at_epoch_ms: int,
    ) -> Write | None:  # fmt: skip
        """What a child has answered, as its parent has heard it. None: nobody who is a workflow asks."""
        if ctx is None:
            ctx = get_local_dbos_context()
            if ctx is None or not ctx.is_workflow():
                return None
            ctx.function_id += 1
        workflow_id, claim = ctx.workflow_id, current_owner_xid(ctx.workflow_id, ctx)
        row = self._row({
            "workflow_uuid": workflow_id, "function_id": ctx.function_id, "function_name": "DBOS.getResult",
            "started_at_epoch_ms": started_at_epoch_ms, "output": output, "error": error,
            "child_workflow_id": result_workflow_id, "serialization": serialization,
        })  # fmt: skip

        def write(connection: sa.Connection) -> None:
            self._is_owned(connection, workflow_id, claim)
            self._step.run(connection, row).close()  # heard again, it is as it was

        return write

    def init_child_workflow(
        self, status: Any, *, creator_xid: str, parent_workflow_id: str, parent_function_id: int, function_name: str,
        started_at_epoch_ms: int, reuse_policy: Any = None, parent_owner_xid: str | None = None,
    ) -> Write:  # fmt: skip
        """A child, and that its parent has started it."""
        claim = parent_owner_xid or current_owner_xid(parent_workflow_id)
        row = self._row({
            "workflow_uuid": parent_workflow_id, "function_id": parent_function_id, "function_name": function_name,
            "started_at_epoch_ms": started_at_epoch_ms, "output": None, "error": None,
            "child_workflow_id": status["workflow_uuid"], "serialization": None,
        })  # fmt: skip

        def write(connection: sa.Connection) -> Any:
            self._is_owned(connection, parent_workflow_id, claim)
            begun = self._library._insert_workflow_status(
                status, connection, creator_xid=creator_xid, reuse_policy=reuse_policy
            )
            if self._step.run(connection, row).first()[1] != status["workflow_uuid"]:
                raise DBOSStepNondeterminismError(parent_workflow_id, parent_function_id)
            return begun

        return write

    def update_workflow_outcome(
        self, workflow_id: str, status: str, *, output: str | None = None, error: str | None = None,
        owner_xid: str | None = None,
    ) -> Write:  # fmt: skip
        """How a workflow has ended. Answers whether it was still whose it is thought to be."""
        claim = owner_xid or current_owner_xid(workflow_id)

        def write(connection: sa.Connection) -> bool:
            end = self._end if claim is None else self._end_owned
            if not end.run(connection, {"one": workflow_id, "new": status, "claim": claim}).rowcount:
                return False
            self._answer.run(connection, {"workflow_uuid": workflow_id, "output": output, "error": error})
            return True

        return write

    def _row(self, step: Mapping[str, Any], at: int | None = None) -> dict[str, Any]:
        at, application = at or int(time.time() * 1000), self._library.app_name
        return {**step, "completed_at_epoch_ms": at, "application_name": application}

    def _is_owned(self, connection: sa.Connection, workflow_id: str, claim: str | None) -> None:
        if claim is not None and self._owner.run(connection, {"one": workflow_id}).scalar() != claim:
            raise DBOSWorkflowConflictIDError(workflow_id)

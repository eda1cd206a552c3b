"""Statements of the durable library that every run needs several times, compiled once. On SQLite only.

The library compiles them once for PostgreSQL; for SQLite it builds each anew, which costs more than what it does. Never
does: change what a statement says.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from dbos._context import current_owner_xid
from dbos._error import DBOSStepNondeterminismError, DBOSWorkflowConflictIDError

_SCHEMA = "main"
"""What SQLite calls the file that is opened."""


class Prepared:
    """One statement. ``columns``: those of an INSERT that are given with each execution."""

    def __init__(self, statement: Any, engine: sa.Engine, columns: Iterable[str] | None = None) -> None:
        # The library's tables have a schema that only its own engine knows how to read.
        schemas = engine.get_execution_options()["schema_translate_map"]
        where = {name: schema or _SCHEMA for name, schema in schemas.items()}
        compiled = statement.compile(
            dialect=engine.dialect, column_keys=None if columns is None else list(columns), schema_translate_map=where,
            render_schema_translate=True,
        )  # fmt: skip
        self._text, self._order = str(compiled), list(compiled.positiontup)
        self._constants: dict[str, Any] = dict(compiled.params)
        types = {name: bind.type.dialect_impl(engine.dialect) for name, bind in compiled.binds.items()}
        found = ((name, one.bind_processor(engine.dialect)) for name, one in types.items())
        self._processors = {name: process for name, process in found if process is not None}

    def run(self, connection: Any, values: Mapping[str, Any]) -> Any:
        given = {**self._constants, **values}
        for name in self._processors.keys() & given.keys():
            given[name] = self._processors[name](given[name])
        return connection.exec_driver_sql(self._text, tuple(given[name] for name in self._order))


def prepare(library: Any) -> None:
    """What the library compiles once for PostgreSQL it has compiled once for SQLite too."""
    known: dict[tuple[Any, ...], Prepared] = {}

    def execute(
        connection: Any, name: str, values: Mapping[str, Any], build: Callable[[], Any], *, insert_columns: bool = True
    ) -> Any:
        key = (name, insert_columns, *values)
        if key not in known:
            known[key] = Prepared(build(), library.engine, values if insert_columns else None)
        return known[key].run(connection, values)

    library._execute_prepared = execute


_RESULT = (
    "workflow_uuid", "function_id", "function_name", "started_at_epoch_ms", "completed_at_epoch_ms", "output", "error",
    "child_workflow_id", "serialization", "application_name",
)  # fmt: skip


class Record:
    """What a step answered, in a transaction that writes already: as the library's own."""

    def __init__(self, library: Any) -> None:
        status, kept = library.tables.workflow_status, library.tables.operation_outputs
        self._application = library.app_name
        self._owner = Prepared(
            sa.select(status.c.owner_xid).where(status.c.workflow_uuid == sa.bindparam("one")), library.engine
        )  # fmt: skip
        given = {name: sa.bindparam(name, type_=kept.c[name].type) for name in _RESULT}
        insert = library.dialect.insert(kept).values({**given, "retention_timestamp": library._now_ms_sql()})
        self._insert = Prepared(
            insert.on_conflict_do_update(
                index_elements=["workflow_uuid", "function_id"],
                set_={"completed_at_epoch_ms": kept.c.completed_at_epoch_ms},
            ).returning(kept.c.completed_at_epoch_ms),
            library.engine,
        )

    def of(self, result: Mapping[str, Any]) -> Callable[[sa.Connection], None]:
        """The claim is that of the workflow that runs here."""
        workflow_id, at = result["workflow_uuid"], int(time.time() * 1000)
        claim = current_owner_xid(workflow_id)
        row = {**result, "completed_at_epoch_ms": at, "application_name": self._application}

        def write(connection: sa.Connection) -> None:
            if claim is not None and self._owner.run(connection, {"one": workflow_id}).scalar() != claim:
                raise DBOSWorkflowConflictIDError(workflow_id)
            if self._insert.run(connection, row).scalar() != at:
                raise DBOSStepNondeterminismError(workflow_id, result["function_id"])

        return write

"""Statements on the durable library's tables that every run needs several times, compiled once.

The library does so itself, for PostgreSQL; for SQLite it builds each anew, which costs more than what it does. Never
does: change what a statement says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import sqlalchemy as sa

_SQLITES = "main"
"""What SQLite calls the file that is opened."""


class Prepared:
    """One statement. ``columns``: those of an INSERT that are given with each execution."""

    def __init__(self, statement: Any, engine: sa.Engine, columns: Iterable[str] | None = None) -> None:
        # The library's tables have a schema that only its own engine knows how to read.
        schemas = engine.get_execution_options()["schema_translate_map"]
        where = {name: schema or _SQLITES for name, schema in schemas.items()}
        compiled = statement.compile(
            dialect=engine.dialect, column_keys=None if columns is None else list(columns), schema_translate_map=where,
            render_schema_translate=True,
        )  # fmt: skip
        # By place, as SQLite has it, or by name.
        self._text, self._order = str(compiled), list(compiled.positiontup) if compiled.positional else None
        self._constants: dict[str, Any] = dict(compiled.params)
        types = {name: bind.type.dialect_impl(engine.dialect) for name, bind in compiled.binds.items()}
        found = ((name, one.bind_processor(engine.dialect)) for name, one in types.items())
        self._processors = {name: process for name, process in found if process is not None}

    def run(self, connection: Any, values: Mapping[str, Any]) -> Any:
        given = {**self._constants, **values}
        for name in self._processors.keys() & given.keys():
            given[name] = self._processors[name](given[name])
        asked = given if self._order is None else tuple(given[name] for name in self._order)
        return connection.exec_driver_sql(self._text, asked)


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

"""Many rows into a table at once, as the driver takes them: of a thousand small ones, what SQLAlchemy does with each
costs as much as the database does. Only for texts, bytes and numbers, which need nothing done. Never does: commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import sqlalchemy as sa


class Bulk:
    """An insert of these columns; every row has all of them."""

    def __init__(self, table: sa.Table, *leave_out: str) -> None:
        self._table = table
        self._names = [column.name for column in table.columns if column.name not in leave_out]
        self._of = itemgetter(*self._names)
        self._known: dict[str, tuple[str, bool]] = {}

    def put(self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        statement, by_place = self._said(connection.dialect)
        connection.exec_driver_sql(statement, [self._of(row) for row in rows] if by_place else [dict(r) for r in rows])

    def _said(self, dialect: sa.Dialect) -> tuple[str, bool]:
        """The statement, and whether its values go by their place."""
        if dialect.name not in self._known:
            compiled = sa.insert(self._table).compile(dialect=dialect, column_keys=self._names)
            self._known[dialect.name] = str(compiled), bool(compiled.positional)
        return self._known[dialect.name]

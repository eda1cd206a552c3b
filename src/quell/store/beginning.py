"""What begins with what somebody typed, so that an index finds it: a unique beginning of an id is enough everywhere.

Never does: ask the database.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

LAST = "\uffff"
"""Behind every sign that a name has, in the order of either database."""


def begins(column: sa.Column[Any], text: str) -> sa.ColumnElement[bool]:
    """A name that begins with a text, which is not empty. LIKE alone would look at every row: an index in the order of
    a language is none for it, and on SQLite one that heeds capital letters neither."""
    return sa.and_(column >= text, column < text + LAST, column.startswith(text, autoescape=True))

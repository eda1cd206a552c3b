"""A database that is only read, for an audit: no server runs, or one runs and is not disturbed.

Never does: create a file, change the journal, take a lock that a writer waits for.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from quell.errors import Unavailable
from quell.store.database import PATIENCE


class ReadOnly:
    """Use it in a ``with``: one connection, in one transaction. Raises ``Unavailable``, ``FileNotFoundError``."""

    def __init__(self, url: str) -> None:
        """``url``: as ``normalise_url`` gives it."""
        self._engine = _engine(url)

    def __enter__(self) -> sa.Connection:
        try:
            self._connection = self._engine.connect()
            if not sa.inspect(self._connection).has_table("quell_events"):
                raise Unavailable("this database has no event log of Quell")
        except SQLAlchemyError as error:
            raise _away(error) from error
        return self._connection

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._connection.close()
        self._engine.dispose()
        if isinstance(error, SQLAlchemyError):
            raise _away(error) from error


def _engine(url: str) -> sa.Engine:
    if not url.startswith("sqlite"):
        options = f"{PATIENCE['options']} -c default_transaction_read_only=on"
        return sa.create_engine(url, connect_args=PATIENCE | {"options": options}, poolclass=sa.NullPool)
    path = Path(sa.make_url(url).database or "")
    if not path.is_file():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))

    def connect() -> Any:
        connection = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, timeout=30)
        connection.execute("PRAGMA query_only=ON")
        # SQLite stores any bytes as text. What is no UTF-8 must be found by an audit, not keep it from looking.
        connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
        return connection

    return sa.create_engine("sqlite://", creator=connect, poolclass=sa.NullPool)


def _away(error: SQLAlchemyError) -> Unavailable:
    cause = getattr(error, "orig", None) or error
    return Unavailable(f"the database cannot be read: {type(cause).__name__}: {str(cause).splitlines()[0][:200]}")

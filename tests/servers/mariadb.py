"""A real MariaDB on loopback.

Never syncs to disk: the data lives as long as the test. Root has no password.
"""

import contextlib
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pymysql

from tests.servers.ports import LOOPBACK, free_port
from tests.servers.process import Server, account_for, locate

_PACKAGE = "mariadb-server"
_QUICK = {
    "innodb-buffer-pool-size": "16M",
    "innodb-log-file-size": "8M",
    "innodb-flush-log-at-trx-commit": 0,
    "performance-schema": "OFF",
}


class MariaDB(Server):
    """User `root`, database `mysql`; `settings` are options of mariadbd without their dashes."""

    def __init__(self, *, max_connections: int = 100, settings: Mapping[str, str | int] | None = None) -> None:
        self.port = free_port()
        self.user = account_for("mysql", _PACKAGE)
        self._settings = {**_QUICK, "max-connections": max_connections, **(settings or {})}

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def prepare(self) -> None:
        self.run_once(
            [
                locate("mariadb-install-db", _PACKAGE),
                "--no-defaults",
                f"--datadir={self.data}",
                f"--tmpdir={self.folder}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--innodb-log-file-size=8M",
            ]
        )

    def argv(self) -> list[str]:
        return [
            locate("mariadbd", _PACKAGE),
            "--no-defaults",
            f"--datadir={self.data}",
            f"--tmpdir={self.folder}",
            f"--socket={self.folder}/mariadb.sock",
            f"--pid-file={self.folder}/mariadb.pid",
            f"--bind-address={LOOPBACK}",
            f"--port={self.port}",
            *(f"--{name}={value}" for name, value in self._settings.items()),
        ]

    def ready(self) -> bool:
        try:
            self.connect(connect_timeout=2).close()
        except pymysql.err.OperationalError:
            return False
        return True

    def connect(
        self, database: str = "mysql", user: str = "root", **options: Any
    ) -> "pymysql.connections.Connection[pymysql.cursors.Cursor]":
        """An autocommit connection over TCP; close it, or use it as a context manager."""
        return pymysql.connect(host=LOOPBACK, port=self.port, user=user, database=database, autocommit=True, **options)

    def execute(self, statement: str, *values: Any, database: str = "mysql") -> list[tuple[Any, ...]]:
        """Run one statement on a connection of its own; its rows, or an empty list."""
        with self.connect(database) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall())

    @contextlib.contextmanager
    def fresh_database(self) -> Iterator[str]:
        """A new empty database; its name. Dropped afterwards."""
        name = f"t_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name}")
        try:
            yield name
        finally:
            if self.running:
                self.execute(f"DROP DATABASE IF EXISTS {name}")

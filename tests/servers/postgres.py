"""A real PostgreSQL on loopback, and a pair of them: a primary with a streaming replica.

Never syncs to disk: the data lives as long as the test. PostgreSQL refuses to run as root, so under root
it runs as the account that its Debian package made.
"""

import contextlib
import secrets
import shutil
import signal
from collections.abc import Iterator, Mapping
from glob import glob
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import psycopg

from tests.servers.ports import LOOPBACK, free_port
from tests.servers.process import STOP_WITHIN, Server, account_for, locate, wait_until

_PACKAGE = "postgresql"
_QUICK = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "32MB", "max_wal_size": "256MB"}


class Postgres(Server):
    """Superuser `postgres`, database `postgres`, trusting everyone on loopback unless `password` is given.

    `max_connections` and `settings` (names of postgresql.conf) go in as they are.
    """

    stop_signal = signal.SIGINT  # "fast": ends sessions, does not wait for clients
    death_signal = signal.SIGQUIT

    def __init__(
        self,
        *,
        max_connections: int = 100,
        settings: Mapping[str, str | int] | None = None,
        password: str | None = None,
    ) -> None:
        self.port = free_port()
        self.user = account_for("postgres", _PACKAGE)
        self.password = password
        self._settings = {**_QUICK, "max_connections": max_connections, **(settings or {})}

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def prepare(self) -> None:
        secret = self.folder / "password"
        secret.write_text(self.password or secrets.token_hex(8))
        if self.user is not None:
            shutil.chown(secret, self.user)
        self.run_once(
            [
                _binary("initdb"),
                f"--pgdata={self.data}",
                "--username=postgres",
                f"--pwfile={secret}",
                f"--auth-host={'scram-sha-256' if self.password else 'trust'}",
                "--auth-local=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ]
        )

    def argv(self) -> list[str]:
        settings = {
            "listen_addresses": LOOPBACK,
            "port": self.port,
            "unix_socket_directories": self.folder,
            **self._settings,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [_binary("postgres"), "-D", str(self.data), *options]

    def ready(self) -> bool:
        try:
            with self.connect(connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False

    def url(self, database: str = "postgres", user: str = "postgres", password: str | None = None) -> str:
        """A libpq address; `password` defaults to the superuser's when the server asks for one."""
        secret = password or self.password
        login = f"{user}:{quote(secret, safe='')}" if secret else user
        return f"postgresql://{login}@{LOOPBACK}:{self.port}/{database}"

    def connect(
        self, database: str = "postgres", user: str = "postgres", **options: Any
    ) -> psycopg.Connection[tuple[Any, ...]]:
        """An autocommit connection over TCP; close it, or use it as a context manager."""
        return psycopg.connect(self.url(database, user), autocommit=True, **options)

    def execute(
        self, statement: str, *values: Any, database: str = "postgres", user: str = "postgres"
    ) -> list[tuple[Any, ...]]:
        """Run one statement on a connection of its own; its rows, or an empty list."""
        with self.connect(database, user) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    @contextlib.contextmanager
    def fresh_database(self, template: str = "template1") -> Iterator[str]:
        """A new database, empty or as the ``template`` is; its name. Dropped afterwards, with the sessions that are still in it."""
        name = f"t_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield name
        finally:
            if self.running:
                self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def crash(self) -> None:
        """End at once without a checkpoint, as after a power cut; `start` recovers from the log."""
        self.stop(signal.SIGQUIT, STOP_WITHIN)


class Replica(Postgres):
    """A streaming replica of `primary`, which must be running and stay on its port."""

    def __init__(self, primary: Postgres, **options: Any) -> None:
        super().__init__(**options)
        self._primary = primary
        self.password = primary.password

    def prepare(self) -> None:
        self.run_once(
            [
                _binary("pg_basebackup"),
                f"--pgdata={self.data}",
                f"--dbname={self._primary.url()}",
                "--wal-method=stream",
                "--checkpoint=fast",
                "--write-recovery-conf",
                "--no-sync",
            ]
        )

    @property
    def in_recovery(self) -> bool:
        return bool(self.execute("SELECT pg_is_in_recovery()")[0][0])

    def promote(self, within: float = STOP_WITHIN) -> None:
        """Make it a primary. Raises TimeoutError when it does not become one within `within` seconds."""
        self.execute("SELECT pg_promote(false)")
        wait_until(lambda: not self.in_recovery, "promotion", within)


class PostgresPair:
    """A primary and its replica, caught up when the context is entered."""

    def __init__(self, **options: Any) -> None:
        self.primary = Postgres(**options)
        self.replica = Replica(self.primary, **options)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.primary)
            stack.enter_context(self.replica)
            wait_until(self.streaming, "replication")
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def streaming(self) -> bool:
        """Whether the replica has received and replayed all that the primary has written."""
        rows = self.primary.execute(
            "SELECT state = 'streaming' AND replay_lsn >= pg_current_wal_lsn() FROM pg_stat_replication"
        )
        return bool(rows and rows[0][0])


def _binary(name: str) -> str:
    """Debian keeps the server's programs out of PATH, one folder per major version: take the newest."""
    folders = sorted(glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(Path(path).parent.name))
    return locate(name, _PACKAGE, *folders)

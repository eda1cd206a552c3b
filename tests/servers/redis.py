"""A real Redis on loopback, in memory only.

Never writes a snapshot.
"""

from collections.abc import Sequence

from redis import Redis as Client
from redis.exceptions import RedisError

from tests.servers.ports import LOOPBACK, free_port
from tests.servers.process import Server, locate


class Redis(Server):
    """`options` are further arguments of redis-server, e.g. `("--maxmemory", "10mb")`."""

    def __init__(self, *, password: str | None = None, options: Sequence[str] = ()) -> None:
        self.port = free_port()
        self.password = password
        self._options = list(options)

    def argv(self) -> list[str]:
        return [
            locate("redis-server", "redis-server"),
            *("--bind", LOOPBACK, "--port", str(self.port), "--dir", str(self.folder)),
            *("--save", "", "--appendonly", "no"),
            *(("--requirepass", self.password) if self.password else ()),
            *self._options,
        ]

    def ready(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except RedisError:
            return False

    def url(self, database: int = 0) -> str:
        login = f":{self.password}@" if self.password else ""
        return f"redis://{login}{LOOPBACK}:{self.port}/{database}"

    def client(self, database: int = 0) -> Client:
        """A client whose answers are text; close it, or use it as a context manager."""
        return Client.from_url(self.url(database), decode_responses=True)

    def flush(self) -> None:
        """Empty every database: what a shared server owes the next test."""
        with self.client() as client:
            client.flushall()

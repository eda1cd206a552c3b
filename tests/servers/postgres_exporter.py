"""A real Prometheus exporter for PostgreSQL on loopback.

Never holds more connections than the exporter itself does; its failures to connect show as `pg_up 0`.
"""

from collections.abc import Sequence

import httpx

from tests.servers.ports import LOOPBACK, free_port
from tests.servers.process import Server, locate


class PostgresExporter(Server):
    """Watches the database at `dsn` (a postgresql:// address); `queries` is the YAML of extra queries."""

    def __init__(self, dsn: str, *, queries: str = "", flags: Sequence[str] = ()) -> None:
        self.port = free_port()
        self.address = f"{LOOPBACK}:{self.port}"
        self.url = f"http://{self.address}/metrics"
        self._dsn = dsn + ("&" if "?" in dsn else "?") + "sslmode=disable"
        self._queries = queries
        self._flags = list(flags)

    def prepare(self) -> None:
        if self._queries:
            (self.folder / "queries.yml").write_text(self._queries)
            self._flags.append(f"--extend.query-path={self.folder}/queries.yml")

    def argv(self) -> list[str]:
        return [
            locate("prometheus-postgres-exporter", "prometheus-postgres-exporter"),
            f"--web.listen-address={self.address}",
            "--log.level=warn",
            *self._flags,
        ]

    def environment(self) -> dict[str, str]:
        return {"DATA_SOURCE_NAME": self._dsn}

    def ready(self) -> bool:
        return self.metric("pg_up") is not None

    def metric(self, name: str) -> float | None:
        """The value of a metric without labels, as scraped now; None when it is absent."""
        try:
            text = httpx.get(self.url, timeout=5).text
        except httpx.HTTPError:
            return None
        values = [line.split()[1] for line in text.splitlines() if line.startswith(f"{name} ")]
        return float(values[0]) if values else None

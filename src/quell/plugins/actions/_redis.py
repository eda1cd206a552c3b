"""Opens a Redis for one call and says its failures in the house's words. Never does: keep a client, show a password."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import redis.asyncio as redis
from redis import exceptions as failures
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from quell import addresses
from quell.errors import Permanent, Transient
from quell.ports import Connection, Probe

CONNECT_WITHIN_S = 10.0


def redis_connection(probe: Probe, name: str | None) -> Connection:
    """Raises ``Permanent`` (missing, invalid)."""
    return probe.connection(name, "redis")


@asynccontextmanager
async def client(connection: Connection) -> AsyncIterator[Any]:
    """A client whose answers are bytes. Raises ``Transient`` or ``Permanent`` with the server's own words."""
    given = {"username": connection.username, "password": connection.password}
    options: dict[str, Any] = {key: value for key, value in given.items() if value}
    if addresses.flaw(connection.url):
        raise Permanent(f"{connection.name}: its address cannot be read", "invalid")
    try:
        # Without a timeout of its own for the socket: redis-py would use asyncio.wait_for, which in Python 3.11 loses
        # a cancellation that comes as the answer does. The caller's timeout cancels the whole call anyway. Nor does
        # it try again: only the engine retries.
        opened = redis.Redis.from_url(
            connection.url, socket_connect_timeout=CONNECT_WITHIN_S, socket_timeout=None, client_name="quell",
            decode_responses=False, retry=Retry(NoBackoff(), 0), **options,
        )  # fmt: skip
    except ValueError:
        raise Permanent(f"connection {connection.name!r} has no redis:// address", "invalid") from None
    try:
        yield opened
    except failures.RedisError as error:
        raise _failure(connection.name, error) from None
    finally:
        await opened.aclose()


def _failure(name: str, error: failures.RedisError) -> Transient | Permanent:
    words = " ".join(str(error).split())[:300]
    if isinstance(error, failures.AuthenticationError | failures.NoPermissionError):
        return Permanent(f"{name}: {words}", "denied")
    if isinstance(error, failures.BusyLoadingError):
        return Transient(f"{name}: {words}", "busy")
    if isinstance(error, failures.TimeoutError):
        return Transient(f"{name}: no answer in time", "timeout")
    if isinstance(error, failures.MaxConnectionsError):
        return Transient(f"{name}: {words}", "exhausted")
    if isinstance(error, failures.ConnectionError):
        # redis-py's words hold the address, which may hold a password.
        if "connecting to" in words:
            return Transient(f"{name}: cannot connect", "unreachable")
        return Transient(f"{name}: the connection broke; the command may have been carried out", "lost")
    if isinstance(error, failures.ReadOnlyError):
        return Permanent(f"{name}: {words}", "denied")
    return Permanent(f"{name}: {words}", "failed")


def shown(key: bytes, most: int = 120) -> str:
    """A key for people."""
    text = key.decode("utf-8", "backslashreplace")
    return text if len(text) <= most else text[: most - 1] + "…"

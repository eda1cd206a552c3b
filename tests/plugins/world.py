"""A real probe for plug-in tests: a ``World`` over given connections and services, no part of it replaced.

Never does: talk to anything but what the test itself started.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from quell.ports import Connection, Service
from quell.probe import LiveProbe, World, make_client
from quell.registry import Registry


@asynccontextmanager
async def probe_over(
    *connections: Connection,
    services: Iterable[Service] = (),
    timeout_s: float = 30.0,
    key: str = "run/node/1/target",
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    allowed_hosts: Iterable[str] = (),
    registry: Registry | None = None,
) -> AsyncIterator[LiveProbe]:
    """The probe a plug-in would get in production, with these connections and services; closed at the end."""
    world = World(
        registry=registry or Registry(),
        services={service.name: service for service in services},
        connections={connection.name: connection for connection in connections},
        http=make_client(allowed_hosts),
        clock=clock,
    )
    try:
        yield world.probe(timeout_s=timeout_s, key=key)
    finally:
        await world.close()

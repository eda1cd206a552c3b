"""The drivers of services: their state, and what their accounts may do. Never does: move anything."""

from __future__ import annotations

from quell.doctor.asked import Failure, bounded
from quell.fleet import Fleet, Right
from quell.incident.service import Service
from quell.ports import ServiceState
from quell.probe import World

Seen = tuple[str, ServiceState | Failure | None, tuple[Right, ...] | Failure]


async def looked(world: World, service: Service, region: str, timeout_s: float) -> Seen:
    """(name, state, rights) of a service, or of one region of it; no rights where no driver can say."""
    name = f"{service.name} in {region}" if region else service.name
    if not service.drivers:
        return name, None, ()

    async def fleet() -> Fleet:
        return world.probe(timeout_s=timeout_s).fleet(service.name, region or None)

    found = await bounded(fleet(), timeout_s)
    if isinstance(found, Failure):
        return name, found, ()
    state = await bounded(found.state(), timeout_s)
    return name, state, await bounded(found.rights(), timeout_s) if not isinstance(state, Failure) else ()

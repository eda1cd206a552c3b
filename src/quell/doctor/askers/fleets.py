"""The drivers of services: their state, and what their accounts may do. Never does: move anything."""

from __future__ import annotations

import asyncio

from quell.doctor.asked import Failure, bounded
from quell.doctor.fleets import Moved
from quell.fleet import Right
from quell.incident.service import Service
from quell.ports import ServiceState
from quell.probe import World


async def looked(world: World, service: Service, region: str, timeout_s: float) -> Moved:
    """(name, state, rights) of a service, or of one region of it; no rights where no driver can say."""
    name = f"{service.name} in {region}" if region else service.name
    if not service.drivers:
        return name, None, ()

    async def state() -> ServiceState:
        return await world.probe(timeout_s=timeout_s).fleet(service.name, region or None).state()

    async def rights() -> tuple[Right, ...]:
        return await world.probe(timeout_s=timeout_s).fleet(service.name, region or None).rights()

    told, may = await asyncio.gather(bounded(state(), timeout_s), bounded(rights(), timeout_s))
    # Where the rights cannot be had because nothing can, the state says so.
    return name, told, () if isinstance(told, Failure) and isinstance(may, Failure) else may

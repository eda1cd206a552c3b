"""Schedules: each is asked who is on call now, as an approval would. Never does: keep who it is."""

from __future__ import annotations

from quell.doctor.asked import Failure, bounded
from quell.errors import InvalidInput
from quell.ports import OnCall
from quell.probe import World
from quell.respond.means import ScheduleChoice
from quell.respond.naming import schedules
from quell.settings import Settings


def found(settings: Settings, world: World) -> dict[str, ScheduleChoice | Failure]:
    """Each by itself, so that a fault of one hides no other."""
    known: dict[str, ScheduleChoice | Failure] = {}
    for name, one in settings.schedules.items():
        try:
            known |= schedules({name: one}, world.registry, settings.folder)
        except InvalidInput as error:
            known[name] = Failure("invalid", "; ".join(problem.message for problem in error.problems))
    return known


async def asked(
    world: World, name: str, choice: ScheduleChoice | Failure, timeout_s: float
) -> tuple[OnCall, ...] | Failure:
    if isinstance(choice, Failure):
        return choice
    kind = world.registry.schedule(choice.type)
    params = kind.params.model_validate(choice.params)
    probe = world.probe(timeout_s=timeout_s, key=f"quell-doctor/{name}")
    return await bounded(kind.on_call(params, probe, world.clock()), timeout_s)

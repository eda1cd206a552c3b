"""What actions on a service share: the facts they publish, and a record of what was really done to each replica.

Never does: decide what to move. ``Fleet`` moves; this module watches and, when interrupted, tells how far it came.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from quell.errors import Permanent, Transient
from quell.plugins.actions._fields import ServiceParams
from quell.ports import (
    Driver,
    FactSpec,
    Fleet,
    Missing,
    Observation,
    Probe,
    Radius,
    Reading,
    Release,
    Replica,
    ServiceState,
)

FACTS: dict[str, FactSpec] = {
    "ready_count": "number",
    "total_count": "number",
    "all_ready": "bool",
    "version": "string",
    "rolling": "bool",
}
"""Of the whole service, or of its region. ``total_count`` is how many replicas there should be."""

_CAPABILITIES = ("state", "restart", "scale", "releases", "rollback", "drain", "certificate")


def total_of(state: ServiceState) -> int:
    """How many replicas there should be; a driver that does not know says 0."""
    return state.desired or len(state.replicas)


async def version_of(fleet: Fleet, state: ServiceState) -> str:
    """What the replicas run, all versions of a mixture; else what the service says; else its current release."""
    running = sorted({replica.version for replica in state.replicas if replica.version})
    if running:
        return ", ".join(running)
    if state.version or not fleet.can("releases"):
        return state.version
    return next((release.version for release in await fleet.releases() if release.current), "")


def fleet_of(params: ServiceParams, probe: Probe) -> Fleet:
    """What the action moves. Raises ``Permanent`` (refused) for all of a service whose regions have their own drivers.

    The first drivers would be those of one region, and the others left out in silence.
    """
    regions = probe.service(params.service).driver_regions
    if params.region is None and len(regions) > 1:
        raise Permanent(
            f"service {params.service!r} has drivers for each of {', '.join(regions)}: say which region is meant",
            "refused",
        )
    return probe.fleet(params.service, params.region)


async def observe_fleet(params: ServiceParams, probe: Probe) -> Reading:
    """The service, or its region, now, with one target per replica."""
    fleet = fleet_of(params, probe)
    state = await fleet.state()
    version = await version_of(fleet, state)
    total = total_of(state)
    facts = {
        "ready_count": state.ready,
        "total_count": total,
        "all_ready": total > 0 and state.ready >= total,
        "rolling": state.rolling,
    }
    missing = {} if version else {"version": Missing("no driver of the service tells its version")}
    return Reading(
        facts={**facts, **({"version": version} if version else {})},
        missing=missing,
        targets=tuple(
            Observation(
                target=target_of(fleet, replica),
                facts={"ready": replica.ready, "version": replica.version},
                labels={"replica": replica.name},
                summary=replica.note,
            )
            for replica in state.replicas
        ),
        summary=f"{state.ready} of {total} ready" + (", rolling" if state.rolling else ""),
        observed_at=probe.now(),
    )


def target_of(fleet: Fleet, replica: Replica) -> str:
    return f"{fleet.path}/{replica.name}"


def only(state: ServiceState, names: Sequence[str], service: str) -> ServiceState:
    """The state with just these replicas. Raises ``Permanent`` (missing) for a name that is not there."""
    known = {replica.name: replica for replica in state.replicas}
    strange = [name for name in names if name not in known]
    if strange:
        have = ", ".join(known) or "none"
        raise Permanent(f"service {service!r} has no replica {', '.join(strange)}; it has {have}", "missing")
    return ServiceState(
        replicas=tuple(known[name] for name in names), desired=len(names), version=state.version,
        rolling=state.rolling, details=state.details,
    )  # fmt: skip


class Witness:
    """A service's drivers behind one ``Driver`` that remembers every change it passed on.

    With ``names`` it shows and restarts just those replicas.
    """

    def __init__(self, fleet: Fleet, names: Sequence[str] = ()) -> None:
        self._fleet, self._names = fleet, tuple(names)
        self.done: list[str] = []
        self.touched: dict[str, str] = {}

    @property
    def capabilities(self) -> frozenset[str]:
        return frozenset(word for word in _CAPABILITIES if self._fleet.can(word))

    @property
    def rolls_by_itself(self) -> bool:
        can = "rollback" if not self._fleet.can("restart") else "restart"
        return self._fleet.driver(can).rolls_by_itself

    def fleet(self) -> Fleet:
        """A fleet whose every change goes through this witness."""
        driver: Driver = self
        return Fleet(self._fleet.service, [driver], self._fleet.region)

    async def state(self) -> ServiceState:
        state = await self._fleet.state()
        # A system that replaces replicas itself gives the new ones new names: then only the whole can get ready.
        return only(state, self._names, self._fleet.title) if self._names and not self.rolls_by_itself else state

    async def releases(self) -> tuple[Release, ...]:
        return await self._fleet.releases()

    async def restart(self, replicas: Sequence[str] = ()) -> str:
        names = tuple(replicas) or self._names
        drained = {name for name in names if self.touched.get(name) == "drained"}
        self._mark(names, "was being restarted")
        said = self._note(await self._fleet.driver("restart").restart(names), names, "restarted")
        self._mark(drained, "restarted and still drained")
        return said

    async def scale(self, to: int) -> str:
        return self._note(await self._fleet.driver("scale").scale(to), (), "")

    async def rollback(self, to: str) -> str:
        return self._note(await self._fleet.driver("rollback").rollback(to), (), "")

    async def drain(self, replica: str) -> str:
        self._mark((replica,), "drained")
        return self._note(await self._fleet.driver("drain").drain(replica), (replica,), "drained")

    async def undrain(self, replica: str) -> str:
        said = await self._fleet.driver("drain").undrain(replica)
        return self._note(said, (replica,), "restarted, in service")

    async def certificate(self, path: str, pem: str) -> str:
        return self._note(await self._fleet.driver("certificate").certificate(path, pem), (), "")

    def _mark(self, names: Iterable[str], what: str) -> None:
        self.touched.update(dict.fromkeys(names, what))

    def _note(self, said: str, names: Sequence[str], what: str) -> str:
        self.done.append(said)
        self._mark(names, what)
        return said

    def story(self) -> str:
        """What was done, for the one who must go on from here."""
        parts = [f"{name} {what}" for name, what in self.touched.items()] or self.done
        return "; ".join(parts) if parts else "nothing was changed"

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Adds to whatever interrupts the block how far it came; a driver's own words stay first."""
        try:
            yield
        except Permanent as error:
            raise Permanent(f"{error}; so far: {self.story()}", error.error_class) from error
        except Transient as error:
            if self.done or self.touched:  # part of it is done: from the start again would not be the same
                raise Permanent(f"{error}; so far: {self.story()}", error.error_class) from error
            raise
        except asyncio.CancelledError as error:
            error.add_note(f"cancelled; so far: {self.story()}")
            raise


def radius_of(state: ServiceState, chosen: ServiceState, batch: int, *, rolls_by_itself: bool) -> Radius | None:
    """What restarting the chosen replicas takes away, in the order in which a fleet does it: those that serve nobody
    first, each batch back before the next. A system that rolls by itself keeps a budget of its own."""
    if rolls_by_itself or not chosen.replicas:
        return None
    healthy = {replica.name for replica in state.replicas if replica.ready}
    left, names = len(healthy), [one.name for one in sorted(chosen.replicas, key=lambda one: one.ready)]
    for start in range(0, len(names), batch):
        away = set(names[start : start + batch])
        left = min(left, len(healthy - away))
        healthy |= away
    now = state.ready
    return Radius(at_once=min(batch, len(names)), of=max(total_of(state), len(state.replicas)), healthy=now,
                  healthy_left=left)  # fmt: skip


def check_limit(what: str, value: float, limit: float | None) -> None:
    """Raises ``Permanent`` (refused): over a limit is refused, never cut down to it."""
    if limit is not None and value > limit:
        raise Permanent(f"{value:g} {what} is over the limit of {limit:g}", "refused")

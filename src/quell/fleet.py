"""A service as something that can be moved: its replicas, its releases, and the drivers that reach them.

``Driver`` is the socket a driver plug-in fills; ``Fleet`` joins a service's drivers so that an action can say
"restart payment" and get drain → restart → ready → undrain, one replica at a time, whoever does each part.
Never does: decide whether something may be done; guards did that before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from quell.errors import Permanent, Transient

CAPABILITIES = frozenset({"state", "restart", "scale", "releases", "rollback", "drain", "certificate"})
"""What a driver may declare. ``rollback`` activates a release; ``drain`` means drain and ready."""


@dataclass(frozen=True, slots=True)
class Replica:
    """One running copy. ``ready``: it may take users; ``since``: when it entered this state (UTC)."""

    name: str
    ready: bool
    version: str = ""
    since: datetime | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class ServiceState:
    """A service at one moment. ``desired``: how many copies there should be; ``rolling``: a change is under way.

    ``stuck``: a change was under way and its system gave up on it; enough old replicas may be ready all the same.
    """

    replicas: tuple[Replica, ...]
    desired: int
    version: str = ""
    rolling: bool = False
    stuck: bool = False
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def ready(self) -> int:
        return sum(replica.ready for replica in self.replicas)


@dataclass(frozen=True, slots=True)
class Release:
    """One deployed version. ``migrations_reversible``: None when nobody said.

    ``at``: when it was deployed first, which is what orders releases; ``live_since``: when the current one last became
    current, where the driver knows. The two differ after a rollback: the version rolled back to is old and live since
    now. ``came_back``: it was current before, with another one in between, where the driver knows.
    """

    version: str
    at: datetime | None
    current: bool = False
    migrations_reversible: bool | None = None
    by: str = ""
    note: str = ""
    live_since: datetime | None = None
    came_back: bool = False


@dataclass(frozen=True, slots=True)
class Right:
    """Something that a driver's account may do or not. ``needed_for`` is empty where it is one too many."""

    name: str
    granted: bool
    needed_for: str = ""


def previous_of(releases: Sequence[Release]) -> Release:
    """The release before the current one, when that says where to go back to by itself.

    Raises ``Permanent``: missing when there is none or nobody knows the order; refused when the current release is
    what a rollback led to, so that going back twice is never a matter of course.
    """
    undated = next((one for one in releases if one.at is None), None)
    if undated is not None and len(releases) > 1:
        raise Permanent(
            f"nobody says when {undated.version} was deployed, so no release is the previous one", "missing"
        )
    ordered = sorted(releases, key=lambda release: release.at.timestamp() if release.at else 0.0)
    place = next((index for index, release in enumerate(ordered) if release.current), 0)
    if place == 0:
        raise Permanent("there is no release before the current one", "missing")
    current, newest = ordered[place], ordered[-1]
    if current.came_back or newest is not current:
        why = "was live before" if current.came_back else f"is older than {newest.version}"
        raise Permanent(
            f"{current.version} is current and {why}: it was rolled back to already; "
            "to go back further, name the release to go to",
            "refused",
        )
    return ordered[place - 1]


class Driver(Protocol):
    """How a service of one kind is moved. A method that ``capabilities`` does not list is never called.

    Every method raises ``Transient`` or ``Permanent``. ``restart`` without names restarts all replicas in the
    driver's own safe way; with names, just those, and returns when the restart was accepted, not when ready.
    """

    @property
    def capabilities(self) -> frozenset[str]: ...

    @property
    def rolls_by_itself(self) -> bool:
        """True when the driver's system rolls replicas one by one itself (Kubernetes), so nobody should do it twice."""
        ...

    async def state(self) -> ServiceState: ...

    async def restart(self, replicas: Sequence[str] = ()) -> str: ...

    async def scale(self, to: int) -> str: ...

    async def releases(self) -> tuple[Release, ...]: ...

    async def rollback(self, to: str) -> str: ...

    async def drain(self, replica: str) -> str: ...

    async def undrain(self, replica: str) -> str: ...

    async def certificate(self, path: str, pem: str) -> str: ...


@runtime_checkable
class Entitled(Protocol):
    """A driver that can say what its account may do; asking changes nothing."""

    async def rights(self) -> tuple[Right, ...]: ...


class Fleet:
    """A service's drivers, joined; with ``region`` just those of one. The first driver with a capability serves it."""

    def __init__(self, service: str, drivers: Sequence[Driver], region: str = "") -> None:
        self.service, self.region = service, region
        self._drivers = tuple(drivers)

    @property
    def title(self) -> str:
        return f"{self.service} in {self.region}" if self.region else self.service

    @property
    def path(self) -> str:
        """The beginning of its replicas' names as targets."""
        return f"{self.service}/{self.region}" if self.region else self.service

    def can(self, capability: str) -> bool:
        return any(capability in driver.capabilities for driver in self._drivers)

    def driver(self, capability: str) -> Driver:
        """Raises ``Permanent`` (denied) when no driver of the service can do it."""
        for driver in self._drivers:
            if capability in driver.capabilities:
                return driver
        known = sorted({word for driver in self._drivers for word in driver.capabilities})
        raise Permanent(
            f"service {self.title!r} has no driver that can {capability}; it can {', '.join(known) or 'nothing'}",
            "denied",
        )

    async def state(self) -> ServiceState:
        return await self.driver("state").state()

    async def rights(self) -> tuple[Right, ...]:
        """What the accounts of its drivers may do, of those that can say."""
        found = [await driver.rights() for driver in self._drivers if isinstance(driver, Entitled)]
        return tuple(right for rights in found for right in rights)

    async def releases(self) -> tuple[Release, ...]:
        return await self.driver("releases").releases()

    async def previous(self) -> Release:
        """The release before the current one. Raises ``Permanent`` as ``previous_of`` does."""
        try:
            return previous_of(await self.releases())
        except Permanent as error:
            raise Permanent(f"service {self.title!r}: {error}", error.error_class) from None

    async def restart(self, *, batch: int = 1, ready_within_s: float = 60.0, poll_s: float = 0.1) -> list[str]:
        """Restart every replica, ``batch`` at a time, drained before and ready again before the next batch.

        Stops at the first replica that does not get ready: ``Permanent`` (failed), the rest untouched.
        """
        driver = self.driver("restart")
        if driver.rolls_by_itself:
            done = [await driver.restart()]
            await self._settle(_rolled, ready_within_s, poll_s)
            return done
        # Those that serve nobody go first: if the restart does not help them, the others stay untouched.
        replicas = sorted((await self.state()).replicas, key=lambda replica: replica.ready)
        names = [replica.name for replica in replicas]
        done = []
        for start in range(0, len(names), batch):
            done += await self._cycle(names[start : start + batch], driver, ready_within_s, poll_s)
        return done

    async def rollback(
        self, to: str, *, batch: int = 1, ready_within_s: float = 60.0, poll_s: float = 0.1
    ) -> list[str]:
        """Activate release ``to`` and bring every replica onto it."""
        driver = self.driver("rollback")
        done = [await driver.rollback(to)]
        if driver.rolls_by_itself:
            await self._settle(_rolled, ready_within_s, poll_s)
            return done
        return done + await self.restart(batch=batch, ready_within_s=ready_within_s, poll_s=poll_s)

    async def scale(self, to: int, *, ready_within_s: float = 60.0, poll_s: float = 0.1) -> list[str]:
        done = [await self.driver("scale").scale(to)]
        await self._settle(lambda state: state.ready >= to, ready_within_s, poll_s)
        return done

    async def _cycle(self, names: Sequence[str], driver: Driver, within_s: float, poll_s: float) -> list[str]:
        traffic = self.driver("drain") if self.can("drain") else None
        done = []
        if traffic:
            done += [await traffic.drain(name) for name in names]
        done.append(await driver.restart(names))

        def back(state: ServiceState) -> bool:
            ready = {replica.name for replica in state.replicas if replica.ready}
            return all(name in ready for name in names)

        await self._settle(back, within_s, poll_s)
        if traffic:
            done += [await traffic.undrain(name) for name in names]
        return done

    async def _settle(self, good: Callable[[ServiceState], bool], within_s: float, poll_s: float) -> None:
        """Wait until the state is ``good``; a read that fails for a moment is not an answer."""
        loop = asyncio.get_running_loop()
        deadline, last = loop.time() + within_s, "no answer yet"
        while True:
            try:
                state = await self.state()
                if state.stuck:
                    raise Permanent(f"{self.title}: the rollout is stuck, {state.ready} ready", "failed")
                if good(state):
                    return
                last = f"{state.ready} of {state.desired} ready"
            except Transient as error:
                last = str(error)
            if loop.time() >= deadline:
                raise Permanent(f"{self.title}: not ready within {within_s:g} s ({last})", "timeout")
            await asyncio.sleep(poll_s)


def _rolled(state: ServiceState) -> bool:
    return not state.rolling and state.ready >= state.desired

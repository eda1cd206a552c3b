"""A service of real processes for action tests, moved by a driver of this test's own.

Each replica is a `sleep`; its release is what `current` named when it started. A release called `broken…` starts and
never gets ready. Never does: signal a process that it did not start.
"""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from quell.errors import Permanent
from quell.incident.service import DriverChoice, Service
from quell.plugins.drivers._refusal import Incapable
from quell.ports import DriverType, Params, Release, Replica, ServiceState
from quell.probe import LiveProbe
from quell.registry import Registry
from tests.plugins.world import probe_over

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class _Copy:
    process: subprocess.Popen[bytes]
    version: str
    drained: bool = False


@dataclass
class Processes(Incapable):
    """The service and its driver. `events` is what happened in order; `fewest` the least in service at any time."""

    releases_: list[str] = field(default_factory=lambda: ["v1", "v2"])
    current: str = "v2"
    irreversible: frozenset[str] = frozenset()
    can: frozenset[str] = frozenset({"state", "restart", "scale", "releases", "rollback", "drain"})
    rolls_by_itself: bool = False
    copies: dict[str, _Copy] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    fewest: int = 1_000_000
    before_restart: Callable[[Sequence[str]], None] = lambda names: None

    @property
    def capabilities(self) -> frozenset[str]:
        return self.can

    def start(self, names: Iterable[str]) -> None:
        for name in names:
            self.copies[name] = _Copy(subprocess.Popen(["sleep", "600"]), self.current)

    def stop(self, names: Iterable[str]) -> None:
        for name in names:
            process = self.copies[name].process
            process.kill()
            process.wait()

    def ready(self, name: str) -> bool:
        copy = self.copies[name]
        return copy.process.poll() is None and not copy.version.startswith("broken")

    def in_service(self) -> int:
        return sum(self.ready(name) and not copy.drained for name, copy in self.copies.items())

    def _happened(self, what: str) -> str:
        self.events.append(what)
        self.fewest = min(self.fewest, self.in_service())
        return what

    async def state(self) -> ServiceState:
        replicas = (Replica(name, self.ready(name), copy.version) for name, copy in self.copies.items())
        return ServiceState(tuple(replicas), desired=len(self.copies))

    async def restart(self, replicas: Sequence[str] = ()) -> str:
        names = tuple(replicas) or tuple(self.copies)
        self.before_restart(names)
        drained = {name: self.copies[name].drained for name in names}
        self.stop(names)
        self.fewest = min(self.fewest, self.in_service())
        self.start(names)
        for name in names:
            self.copies[name].drained = drained[name]
        return self._happened(f"restart {','.join(names)}")

    async def scale(self, to: int) -> str:
        for number in range(len(self.copies), to):
            self.start([f"pay-{number + 1}"])
        for name in list(self.copies)[to:]:
            self.stop([name])
            del self.copies[name]
        return self._happened(f"scale {to}")

    async def releases(self) -> tuple[Release, ...]:
        return tuple(
            Release(
                version=version,
                at=BEGIN + timedelta(days=day),
                current=version == self.current,
                migrations_reversible=False if version in self.irreversible else None,
            )
            for day, version in enumerate(self.releases_)
        )

    async def rollback(self, to: str) -> str:
        if to not in self.releases_:
            raise Permanent(f"no release {to}", "missing")
        self.current = to
        return self._happened(f"activate {to}")

    async def drain(self, replica: str) -> str:
        self.copies[replica].drained = True
        return self._happened(f"drain {replica}")

    async def undrain(self, replica: str) -> str:
        self.copies[replica].drained = False
        return self._happened(f"undrain {replica}")


@contextmanager
def running(replicas: int = 3, **options: object) -> Iterator[Processes]:
    """Replicas `pay-1`, `pay-2`, …; all ended afterwards."""
    service = Processes(**options)  # type: ignore[arg-type]
    service.start(f"pay-{number + 1}" for number in range(replicas))
    try:
        yield service
    finally:
        service.stop(service.copies)


class _Known(Registry):
    """The registry with more drivers: the given ones, by their names."""

    def __init__(self, **services: Processes) -> None:
        super().__init__()
        self._services = services

    def driver(self, name: str) -> DriverType:
        if name not in self._services:
            return super().driver(name)
        moved = self._services[name]
        return DriverType(name, Params, moved.can, lambda config, service, probe: moved)


@asynccontextmanager
async def probe_for(service: Processes, name: str = "payment", **about: str) -> AsyncIterator[LiveProbe]:
    """A probe whose catalogue has the service under this name."""
    entry = Service(name=name, aliases=("payment-service",), drivers=(DriverChoice(type="processes"),), **about)
    async with probe_over(services=[entry], registry=_Known(processes=service)) as probe:
        yield probe


@asynccontextmanager
async def probe_for_regions(**regions: Processes) -> AsyncIterator[LiveProbe]:
    """A probe whose ``payment`` has one driver for each region."""
    drivers = tuple(DriverChoice(type=region, region=region.replace("_", "-")) for region in regions)
    async with probe_over(services=[Service(name="payment", drivers=drivers)], registry=_Known(**regions)) as probe:
        yield probe

"""A fleet: three real replicas under supervisord behind HAProxy, and the order of things with drivers of our own."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from quell.errors import Permanent, Transient
from quell.fleet import CAPABILITIES, Fleet, Release, Replica, ServiceState
from tests.plugins.drivers.payment import PASSWORD_VARIABLE, Payment, make_release, payment
from tests.plugins.world import probe_over
from tests.servers.ports import listening
from tests.servers.process import wait_until


@pytest.fixture(scope="module", autouse=True)
def _password() -> Iterator[None]:
    os.environ[PASSWORD_VARIABLE] = "let-me-in"
    yield
    del os.environ[PASSWORD_VARIABLE]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Payment]:
    with payment(tmp_path, startup_s=0.3) as started:
        # HAProxy calls a server UP until its first check says otherwise: ask the replicas themselves first.
        wait_until(lambda: all(listening(port) for port in started.ports) and _up(started) == 3, "three replicas")
        yield started


def _up(shop: Payment) -> int:
    return sum(status.startswith("UP") for status in shop.haproxy.servers().values())


@dataclass
class Users:
    """What users saw: answers by (status, version), and the fewest replicas that HAProxy had for them."""

    answers: list[tuple[int, str]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    fewest: int = 99


@contextmanager
def users(shop: Payment) -> Iterator[Users]:
    """Users ask all the time, while somebody counts the replicas that serve them."""
    seen, stop = Users(), threading.Event()

    def ask() -> None:
        with httpx.Client(timeout=5) as client:
            while not stop.is_set():
                try:
                    answer = client.get(f"{shop.haproxy.url}/pay")
                    version = answer.json()["version"] if "json" in answer.headers.get("content-type", "") else ""
                    seen.answers.append((answer.status_code, version))
                except httpx.HTTPError as error:
                    seen.failures.append(repr(error))

    def count() -> None:
        while not stop.is_set():
            seen.fewest = min(seen.fewest, _up(shop))

    threads = [threading.Thread(target=work) for work in (ask, ask, count)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def move(shop: Payment, act: Callable[[Fleet], object]) -> object:
    async def run() -> object:
        async with probe_over(services=[shop.service()]) as probe:
            return await act(probe.fleet("payment"))  # type: ignore[misc]

    return asyncio.run(run())


def test_a_rolling_restart_never_goes_below_two_replicas(shop: Payment) -> None:
    before = {shop.supervisord.program_pid(f"payment:payment-{number}") for number in (1, 2, 3)}
    with users(shop) as seen:
        move(shop, lambda fleet: fleet.restart(ready_within_s=20))
    after = {shop.supervisord.program_pid(f"payment:payment-{number}") for number in (1, 2, 3)}
    assert not before & after
    assert seen.failures == []
    assert {status for status, _ in seen.answers} == {200}
    assert len(seen.answers) > 20
    assert seen.fewest == 2


def test_a_rollback_brings_every_replica_onto_the_release_before(shop: Payment) -> None:
    make_release(shop.folder, "v2")
    move(shop, lambda fleet: fleet.rollback("v2", ready_within_s=20))
    with users(shop) as seen:
        previous = move(shop, lambda fleet: fleet.previous())
        assert isinstance(previous, Release)
        move(shop, lambda fleet: fleet.rollback(previous.version, ready_within_s=20))
        state = move(shop, lambda fleet: fleet.state())
    assert isinstance(state, ServiceState)
    assert ([one.version for one in state.replicas], state.version) == (["v1"] * 3, "v1")
    assert {status for status, _ in seen.answers} == {200}
    assert {version for _, version in seen.answers} == {"v1", "v2"}
    assert seen.failures == []
    assert seen.fewest == 2


def test_a_restart_into_a_bad_release_stops_at_the_first_replica(shop: Payment) -> None:
    make_release(shop.folder, "bad")
    with users(shop) as seen, pytest.raises(Permanent, match="not ready within 2 s") as failure:
        move(shop, lambda fleet: fleet.rollback("bad", ready_within_s=2))
    assert failure.value.error_class == "timeout"
    assert seen.fewest == 2
    # The broken replica is still drained: no user ever saw it.
    assert {status for status, _ in seen.answers} == {200}
    states = shop.haproxy.servers()
    assert sorted(status.startswith("UP") for status in states.values()) == [False, True, True]

    # Back again: the broken one goes first, and then all three serve.
    with users(shop) as seen:
        move(shop, lambda fleet: fleet.rollback("v1", ready_within_s=20))
    assert _up(shop) == 3
    assert seen.fewest == 2


class Recorder:
    """A driver over a table of its own, that writes down in which order it was asked."""

    rolls_by_itself = False

    def __init__(self, *capabilities: str, replicas: Sequence[Replica] = (), never_ready: str = "") -> None:
        self.capabilities = frozenset(capabilities or CAPABILITIES)
        self.calls: list[str] = []
        self.hiccups = 0
        self._replicas, self._never_ready = tuple(replicas), never_ready

    async def state(self) -> ServiceState:
        if self.hiccups:
            self.hiccups -= 1
            raise Transient("a moment", "unreachable")
        return ServiceState(self._replicas, desired=len(self._replicas))

    async def restart(self, replicas: Sequence[str] = ()) -> str:
        self.calls.append(f"restart {' '.join(replicas)}".strip())
        self._replicas = tuple(
            Replica(one.name, one.name != self._never_ready) if one.name in replicas else one for one in self._replicas
        )
        return "restarted"

    async def scale(self, to: int) -> str:
        self.calls.append(f"scale {to}")
        self._replicas = tuple(Replica(f"r{number}", ready=True) for number in range(to))
        return "scaled"

    async def releases(self) -> tuple[Release, ...]:
        return ()

    async def rollback(self, to: str) -> str:
        self.calls.append(f"rollback {to}")
        return "rolled back"

    async def drain(self, replica: str) -> str:
        self.calls.append(f"drain {replica}")
        return "drained"

    async def undrain(self, replica: str) -> str:
        self.calls.append(f"undrain {replica}")
        return "undrained"

    async def certificate(self, path: str, pem: str) -> str:
        return "replaced"


class Roller(Recorder):
    """One whose system rolls by itself."""

    rolls_by_itself = True


ABC = tuple(Replica(name, ready=True) for name in "abc")


def test_drain_restart_undrain_in_batches() -> None:
    driver = Recorder(replicas=ABC)
    asyncio.run(Fleet("payment", [driver]).restart(batch=2, poll_s=0.001))
    assert driver.calls == [
        "drain a", "drain b", "restart a b", "undrain a", "undrain b", "drain c", "restart c", "undrain c",
    ]  # fmt: skip


def test_replicas_that_serve_nobody_go_first() -> None:
    driver = Recorder("state", "restart", replicas=(Replica("a", True), Replica("b", False), Replica("c", True)))
    asyncio.run(Fleet("payment", [driver]).restart(poll_s=0.001))
    assert driver.calls == ["restart b", "restart a", "restart c"]


def test_the_first_that_does_not_get_ready_stops_the_rest_and_stays_drained() -> None:
    driver = Recorder(replicas=ABC, never_ready="b")
    with pytest.raises(Permanent) as failure:
        asyncio.run(Fleet("payment", [driver]).restart(ready_within_s=0.05, poll_s=0.001))
    assert failure.value.error_class == "timeout"
    assert driver.calls == ["drain a", "restart a", "undrain a", "drain b", "restart b"]


def test_a_state_that_cannot_be_read_for_a_moment_is_not_an_answer() -> None:
    driver = Recorder(replicas=ABC)

    async def run() -> None:
        fleet = Fleet("payment", [driver])
        driver.hiccups = 0
        task = asyncio.create_task(fleet.scale(5, poll_s=0.001))
        driver.hiccups = 3
        await task

    asyncio.run(run())
    assert driver.calls == ["scale 5"]


def test_a_driver_that_rolls_by_itself_is_asked_once() -> None:
    driver = Roller(replicas=ABC)
    fleet = Fleet("payment", [driver])
    asyncio.run(fleet.restart(poll_s=0.001))
    asyncio.run(fleet.rollback("v1", poll_s=0.001))
    assert driver.calls == ["restart", "rollback v1"]


def test_the_first_driver_that_can_serves() -> None:
    first, second = Recorder("drain"), Recorder("drain", "scale")
    fleet = Fleet("payment", [first, second])
    assert fleet.driver("drain") is first
    assert fleet.driver("scale") is second
    assert not fleet.can("certificate")
    with pytest.raises(Permanent, match="it can drain, scale") as failure:
        fleet.driver("certificate")
    assert failure.value.error_class == "denied"


@dataclass
class Listed(Recorder):
    """One that knows these releases."""

    known: tuple[Release, ...] = ()
    capabilities: frozenset[str] = frozenset({"releases"})

    async def releases(self) -> tuple[Release, ...]:
        return self.known


def at(hour: int) -> datetime:
    return datetime(2026, 1, 1, hour, tzinfo=UTC)


@pytest.mark.parametrize(
    ("known", "previous"),
    [
        ((Release("2", at(2), current=True), Release("1", at(1))), "1"),
        ((Release("1", at(1)), Release("2", at(2), current=True, live_since=at(9))), "1"),
        # Rolled back from 3 to 2: back again is 1 for nobody but a person, and never 3.
        ((Release("1", at(1)), Release("2", at(2), current=True, live_since=at(9)), Release("3", at(3))), "refused"),
        ((Release("1", at(1)), Release("2", at(2), current=True, came_back=True)), "refused"),
        ((Release("1", at(1), current=True), Release("2", at(2))), None),
        ((Release("1", None), Release("2", at(2), current=True)), None),
        ((Release("1", at(1)), Release("2", None, current=True)), None),
        ((Release("1", at(1)), Release("2", at(2))), None),
        ((), None),
    ],
)
def test_previous(known: tuple[Release, ...], previous: str | None) -> None:
    fleet = Fleet("payment", [Listed(known)])
    if previous not in (None, "refused"):
        assert asyncio.run(fleet.previous()).version == previous
        return
    with pytest.raises(Permanent) as failure:
        asyncio.run(fleet.previous())
    assert failure.value.error_class == (previous or "missing")

"""The systemd driver against a `systemctl` that speaks the real one's formats, and the real one where there is none."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pydantic import ValidationError

from quell.errors import Permanent, Transient
from quell.fleet import Fleet
from quell.incident.service import Service
from quell.plugins.drivers import systemd
from tests.fakes.serving import FakeServer, Reply, Request
from tests.fakes.systemctl import FakeSystemctl, first_in_path
from tests.plugins.world import probe_over
from tests.servers.process import wait_until

T = TypeVar("T")
SERVICE = Service(name="payment")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[FakeSystemctl]:
    """Three instances that run, on a host of their own."""
    with first_in_path(tmp_path) as fake:
        for number in (1, 2, 3):
            fake.run(f"payment@{number}.service", since_s=100 * number)
        yield fake


def drive(act: Callable[[systemd.Systemd], Awaitable[T]], **config: Any) -> T:
    settings = systemd.Config.model_validate({"units": ["payment@1..3"], **config})

    async def run() -> T:
        async with probe_over() as probe:
            return await act(systemd.connect(settings, SERVICE, probe))

    return asyncio.run(run())


def test_state_of_every_instance(host: FakeSystemctl) -> None:
    host.set("payment@2.service", ActiveState="failed", SubState="failed", Result="exit-code", ExecMainStatus="3")
    host.set("payment@3.service", NRestarts="7")
    state = drive(lambda driver: driver.state())
    assert [(one.name, one.ready, one.note) for one in state.replicas] == [
        ("payment@1", True, "active (running)"),
        ("payment@2", False, "failed (failed), exit-code, exit 3"),
        ("payment@3", True, "active (running), 7 restarts"),
    ]
    assert (state.desired, state.rolling) == (3, False)
    since = state.replicas[0].since
    assert since is not None
    assert abs(datetime.now(UTC) - since - timedelta(seconds=100)) < timedelta(seconds=20)


@pytest.mark.parametrize(
    ("active", "sub", "ready", "rolling"),
    [
        ("active", "running", True, False),
        ("active", "exited", False, False),
        ("activating", "auto-restart", False, True),
        ("deactivating", "stop-sigterm", False, True),
        ("inactive", "dead", False, False),
        ("reloading", "reload", False, True),
    ],
)
def test_ready_is_active_and_running(host: FakeSystemctl, active: str, sub: str, ready: bool, rolling: bool) -> None:
    host.set("payment@1.service", ActiveState=active, SubState=sub)
    state = drive(lambda driver: driver.state(), units=["payment@1"])
    assert (state.replicas[0].ready, state.rolling) == (ready, rolling)


def test_a_unit_that_is_not_there_is_a_replica_that_is_not_ready(host: FakeSystemctl) -> None:
    state = drive(lambda driver: driver.state(), units=["payment@3..4"])
    assert [(one.name, one.ready) for one in state.replicas] == [("payment@3", True), ("payment@4", False)]
    assert state.replicas[1].note.startswith("not-found")
    with pytest.raises(Permanent) as failure:
        drive(lambda driver: driver.state(), units=["paymnt"])
    assert failure.value.error_class == "missing"


def test_ready_after(host: FakeSystemctl) -> None:
    state = drive(lambda driver: driver.state(), ready_after="150s")
    assert [one.ready for one in state.replicas] == [False, True, True]


def test_restart_passes_names_and_nothing_else(host: FakeSystemctl) -> None:
    assert drive(lambda driver: driver.restart(["payment@2"])) == "systemd restarted payment@2"
    restart = next(call for call in host.calls if "restart" in call)
    assert restart[-3:] == ["restart", "--", "payment@2.service"]
    assert "--no-ask-password" in restart
    assert "--system" in restart
    drive(lambda driver: driver.restart(["payment@2"]), user=True)
    assert "--user" in host.calls[-1]


def test_restart_of_all_stops_at_the_first_that_does_not_come_up(host: FakeSystemctl) -> None:
    drive(lambda driver: driver.restart())
    restarted = [call[-1] for call in host.calls if "restart" in call]
    assert restarted == [f"payment@{number}.service" for number in (1, 2, 3)]

    host.set("payment@2.service", comes_up="failed")
    with pytest.raises(Permanent, match=r"payment@2: not ready within 0\.1 s \(failed") as failure:
        drive(lambda driver: driver.restart(), ready_within="100ms")
    assert failure.value.error_class == "timeout"
    assert [call[-1] for call in host.calls if "restart" in call][3:] == ["payment@1.service", "payment@2.service"]


def test_a_fleet_of_units(host: FakeSystemctl) -> None:
    drive(lambda driver: Fleet("payment", [driver]).restart(batch=2, poll_s=0.01))
    restarted = [call[call.index("--") + 1 :] for call in host.calls if "restart" in call]
    assert restarted == [["payment@1.service", "payment@2.service"], ["payment@3.service"]]


@pytest.mark.parametrize(
    ("said", "error_class"),
    [("Access denied", "denied"), ("Interactive authentication required.", "denied"), ("Job canceled.", "failed")],
)
def test_a_refused_restart_says_why(host: FakeSystemctl, said: str, error_class: str) -> None:
    host.set("payment@1.service", denied=said)
    with pytest.raises(Permanent, match=said) as failure:
        drive(lambda driver: driver.restart(["payment@1"]))
    assert failure.value.error_class == error_class


@pytest.mark.parametrize("name", ["payment@9", "--all", "payment@1;reboot"])
def test_only_its_own_units(host: FakeSystemctl, name: str) -> None:
    with pytest.raises(Permanent) as failure:
        drive(lambda driver: driver.restart([name]))
    assert failure.value.error_class == "missing"
    assert not [call for call in host.calls if "restart" in call]


class Health(FakeServer):
    def answer(self, request: Request) -> Reply:
        return Reply.text("ok", 503 if request.path.endswith("2") else 200)


def test_health_decides_who_is_ready(host: FakeSystemctl) -> None:
    with Health() as server:
        state = drive(lambda driver: driver.state(), health=f"{server.url}/{{replica}}/{{number}}")
        assert sorted(request.path for request in server.requests) == [
            "/payment@1/1", "/payment@2/2", "/payment@3/3",
        ]  # fmt: skip
    assert [one.ready for one in state.replicas] == [True, False, True]
    assert state.replicas[1].note.endswith("answers 503")


def test_a_systemctl_that_hangs_is_ended_with_the_call(host: FakeSystemctl, tmp_path: Path) -> None:
    (tmp_path / "hang").touch()

    async def act(driver: systemd.Systemd) -> None:
        task = asyncio.create_task(driver.state())
        async with asyncio.timeout(20):
            while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
                await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    drive(act)
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "its end")


def test_a_flood_is_cut(host: FakeSystemctl, tmp_path: Path) -> None:
    (tmp_path / "flood").touch()
    with pytest.raises(Permanent) as failure:
        drive(lambda driver: driver.state())
    assert failure.value.error_class == "too_large"


def test_a_host_without_systemctl(tmp_path: Path) -> None:
    before = os.environ["PATH"]
    os.environ["PATH"] = str(tmp_path)
    try:
        with pytest.raises(Permanent) as failure:
            drive(lambda driver: driver.state())
    finally:
        os.environ["PATH"] = before
    assert failure.value.error_class == "missing"


@pytest.mark.skipif(shutil.which("systemctl") is None, reason="needs systemctl (Debian package systemd)")
@pytest.mark.skipif(Path("/run/systemd/system").exists(), reason="systemd runs here, and these tests leave it alone")
def test_the_real_systemctl_without_systemd_may_pass() -> None:
    with pytest.raises(Transient) as failure:
        drive(lambda driver: driver.state())
    assert failure.value.error_class == "unreachable"


@pytest.mark.parametrize(
    ("units", "names"),
    [
        (["a@1..3"], ("a@1", "a@2", "a@3")),
        (["a@1..3.service", "b.service"], ("a@1", "a@2", "a@3", "b")),
        (["a@9..11"], ("a@9", "a@10", "a@11")),
        (["a.timer"], ("a.timer",)),
    ],
)
def test_ranges(units: list[str], names: tuple[str, ...]) -> None:
    assert systemd.expand(units) == names


@pytest.mark.parametrize(
    "units", [[], ["-H"], ["--user"], ["a b"], ["a;b"], ["a", "a"], ["a@3..1"], ["a@0..999999999"], [""], ["*"]]
)
def test_names_that_are_refused(units: list[str]) -> None:
    with pytest.raises(ValidationError):
        systemd.Config.model_validate({"units": units})

"""The supervisord driver against a real supervisord with real processes."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import httpx
import pytest
from pydantic import ValidationError

from quell.errors import Permanent, Transient
from quell.fleet import ServiceState
from quell.incident.service import Service
from quell.plugins.drivers import supervisord
from quell.probe import LiveProbe
from tests.fakes.serving import FakeServer, Reply, Request
from tests.plugins.drivers.payment import PASSWORD_VARIABLE, Payment, payment
from tests.plugins.world import probe_over
from tests.servers.ports import free_port
from tests.servers.process import wait_until
from tests.servers.supervisord import Supervisord

T = TypeVar("T")
SERVICE = Service(name="payment")


@pytest.fixture(scope="module", autouse=True)
def _password() -> Iterator[None]:
    os.environ[PASSWORD_VARIABLE] = "let-me-in"
    yield
    del os.environ[PASSWORD_VARIABLE]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Payment]:
    with payment(tmp_path_factory.mktemp("payment")) as started:
        wait_until(lambda: all(_answers(port) for port in started.ports), "replicas")
        yield started


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=1).is_success
    except httpx.HTTPError:
        return False


def drive(config: dict[str, object], act: Callable[[supervisord.Supervisord], Awaitable[T]]) -> T:
    settings = {key: value for key, value in config.items() if key != "type"}

    async def run() -> T:
        async with probe_over() as probe:
            return await act(supervisord.connect(supervisord.Config.model_validate(settings), SERVICE, probe))

    return asyncio.run(run())


async def _ready(driver: supervisord.Supervisord, within: float = 20.0) -> None:
    async with asyncio.timeout(within):
        while not all(replica.ready for replica in (await driver.state()).replicas):
            await asyncio.sleep(0.02)


def test_state_names_each_process_with_the_version_that_it_answers(shop: Payment) -> None:
    state = drive(shop.supervisord_choice, lambda driver: driver.state())
    assert [(one.name, one.ready, one.version) for one in state.replicas] == [
        ("payment-1", True, "v1"), ("payment-2", True, "v1"), ("payment-3", True, "v1"),
    ]  # fmt: skip
    assert (state.desired, state.ready, state.version, state.rolling) == (3, 3, "v1", False)
    assert all(one.since is not None for one in state.replicas)


def test_restart_gives_a_new_process_and_leaves_the_others(shop: Payment) -> None:
    before = {name: shop.supervisord.program_pid(f"payment:{name}") for name in ("payment-1", "payment-2")}

    async def act(driver: supervisord.Supervisord) -> str:
        said = await driver.restart(["payment-1"])
        await _ready(driver)
        return said

    assert drive(shop.supervisord_choice, act) == "supervisord restarted payment-1"
    assert shop.supervisord.program_pid("payment:payment-1") != before["payment-1"]
    assert shop.supervisord.program_pid("payment:payment-2") == before["payment-2"]


def test_restart_of_a_stopped_process_starts_it(shop: Payment) -> None:
    shop.supervisord.call("supervisor.stopProcess", "payment:payment-3")

    async def act(driver: supervisord.Supervisord) -> tuple[int, str]:
        state = await driver.state()
        note = next(one.note for one in state.replicas if one.name == "payment-3")
        await driver.restart(["payment-3"])
        await _ready(driver)
        return state.ready, note

    ready, note = drive(shop.supervisord_choice, act)
    assert ready == 2
    assert note.startswith("STOPPED")


def test_restart_of_all_takes_one_after_another(shop: Payment) -> None:
    before = [shop.supervisord.program_pid(f"payment:payment-{number}") for number in (1, 2, 3)]
    drive(shop.supervisord_choice, lambda driver: driver.restart())
    after = [shop.supervisord.program_pid(f"payment:payment-{number}") for number in (1, 2, 3)]
    assert not set(before) & set(after)


def test_a_running_process_that_does_not_answer_is_not_ready(shop: Payment) -> None:
    choice = {**shop.supervisord_choice, "health": f"http://127.0.0.1:{free_port()}/{{replica}}/{{number}}"}
    state = drive(choice, lambda driver: driver.state())
    assert state.ready == 0
    assert "connection refused" in state.replicas[0].note
    assert "/payment-1/1:" in state.replicas[0].note


def test_a_process_is_ready_only_after_ready_after(shop: Payment) -> None:
    choice = {**shop.supervisord_choice, "ready_after": "1h", "health": ""}
    assert drive(choice, lambda driver: driver.state()).ready == 0


def test_programs_by_name_and_by_group_and_name(shop: Payment) -> None:
    choice = {**shop.supervisord_choice, "group": "", "programs": ["payment:payment-2"]}
    assert [one.name for one in drive(choice, lambda driver: driver.state()).replicas] == ["payment-2"]


def test_a_cancelled_restart_does_not_leave_the_process_stopped(tmp_path: Path) -> None:
    # A process that takes half a second to stop: the cancel falls between its stop and its start.
    script = tmp_path / "slow.py"
    script.write_text(
        "import pathlib, signal, time\n"
        "def stop(*_):\n    pathlib.Path('stopping').touch()\n    time.sleep(0.5)\n    raise SystemExit\n"
        "signal.signal(signal.SIGTERM, stop)\npathlib.Path('up').touch()\n"
        "while True: time.sleep(1)\n"
    )
    with Supervisord(
        {"slow": {"command": f"{sys.executable} {script}", "directory": str(tmp_path), "stopwaitsecs": 5}}
    ) as server:
        wait_until((tmp_path / "up").exists, "the program")
        first = server.program_pid("slow")
        config = {"url": server.url, "username": "quell", "password": f"env:{PASSWORD_VARIABLE}", "programs": ["slow"]}

        async def act(driver: supervisord.Supervisord) -> None:
            task = asyncio.create_task(driver.restart(["slow"]))
            async with asyncio.timeout(10):
                while not (tmp_path / "stopping").exists():
                    await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        drive(config, act)
        wait_until(lambda: server.state("slow") == "RUNNING", "started again")
        assert server.program_pid("slow") != first


def test_a_restart_is_accepted_before_the_process_is_called_running() -> None:
    program = {"command": f"{sys.executable} -c 'import time; time.sleep(600)'", "startsecs": 3600}
    with Supervisord({"slow": program}) as server:
        first = server.program_pid("slow")
        config = {"url": server.url, "username": "quell", "password": f"env:{PASSWORD_VARIABLE}", "programs": ["slow"]}

        async def act(driver: supervisord.Supervisord) -> ServiceState:
            async with asyncio.timeout(30):
                await driver.restart(["slow"])
            return await driver.state()

        state = drive(config, act)
        assert (state.ready, state.rolling) == (0, True)
        assert server.program_pid("slow") not in (0, first)


def test_a_program_that_cannot_start_is_a_failure_with_its_reason(tmp_path: Path) -> None:
    program = tmp_path / "there"
    program.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(600)\n")
    program.chmod(0o755)
    with Supervisord({"web": {"command": str(program)}}) as server:
        program.unlink()
        config = {"url": server.url, "username": "quell", "password": f"env:{PASSWORD_VARIABLE}", "programs": ["web"]}
        with pytest.raises(Permanent, match="NO_FILE") as failure:
            drive(config, lambda driver: driver.restart(["web"]))
        assert failure.value.error_class == "failed"


@pytest.mark.parametrize(
    ("change", "error", "error_class"),
    [
        ({"group": "paymnt"}, Permanent, "missing"),
        ({"password": "env:QUELL_TEST_UNSET"}, Permanent, "missing"),
        ({"username": "stranger"}, Permanent, "denied"),
        ({"url": f"http://127.0.0.1:{free_port()}"}, Transient, "refused"),
        ({"url": "unix:///nowhere/supervisor.sock"}, Transient, "refused"),
    ],
)
def test_failures_have_a_class(
    shop: Payment, change: dict[str, object], error: type[Exception], error_class: str
) -> None:
    with pytest.raises(error) as failure:
        drive({**shop.supervisord_choice, **change}, lambda driver: driver.state())
    assert getattr(failure.value, "error_class", None) == error_class
    assert "let-me-in" not in str(failure.value)


def test_an_unknown_process_is_named_with_the_known_ones(shop: Payment) -> None:
    with pytest.raises(Permanent, match=r"payment-9.*payment-1"):
        drive(shop.supervisord_choice, lambda driver: driver.restart(["payment-9"]))


def test_what_it_cannot_do_is_denied(shop: Payment) -> None:
    for act in (lambda one: one.scale(2), lambda one: one.rollback("v1"), lambda one: one.drain("payment-1")):
        with pytest.raises(Permanent) as failure:
            drive(shop.supervisord_choice, act)
        assert failure.value.error_class == "denied"


class _Answers(FakeServer):
    """Something that answers every call with the same bytes."""

    body = b""

    def answer(self, request: Request) -> Reply:
        return Reply(200, self.body, "text/xml")


ENTITY = b"""<?xml version="1.0"?><!DOCTYPE r [<!ENTITY x "payment">]>
<methodResponse><params><param><value><string>&x;</string></value></param></params></methodResponse>"""


@pytest.mark.parametrize("body", [ENTITY, ENTITY.decode().encode("utf-16")])
def test_an_answer_with_a_document_type_is_refused(body: bytes) -> None:
    with _Answers() as fake:
        fake.body = body
        with pytest.raises(Permanent, match="document type") as failure:
            drive({"url": fake.url, "group": "payment"}, lambda driver: driver.state())
    assert failure.value.error_class == "invalid"


@pytest.mark.parametrize(
    ("body", "error_class"),
    [
        (b"<html>not found</html>", "invalid"),
        (b"", "invalid"),
        (b"\x00\xff", "invalid"),
        (b"<methodResponse><params><param><value><int>x</int></value></param></params></methodResponse>", "invalid"),
        (b"<methodResponse><params><param><value><int>1</int></value></param></params></methodResponse>", "invalid"),
        (b" " * (9 * 1024 * 1024), "too_large"),
    ],
)
def test_answers_that_are_not_an_answer_are_refused(body: bytes, error_class: str) -> None:
    with _Answers() as fake:
        fake.body = body
        with pytest.raises(Permanent) as failure:
            drive({"url": fake.url, "group": "payment"}, lambda driver: driver.state())
    assert failure.value.error_class == error_class


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"group": "a", "programs": ["b"]},
        {"group": "a", "url": "ftp://x"},
        {"group": "a", "ready_after": "5 parsecs"},
        {"group": "a", "ready_after": -1},
        {"group": "a", "grupo": "a"},
    ],
)
def test_a_wrong_config_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        supervisord.Config.model_validate({"url": "http://127.0.0.1:9001", **wrong})


def test_a_live_probe_is_what_it_takes(shop: Payment) -> None:
    async def run() -> tuple[frozenset[str], bool]:
        async with probe_over(services=[shop.service()]) as probe:
            assert isinstance(probe, LiveProbe)
            fleet = probe.fleet("payment")
            return fleet.driver("restart").capabilities, fleet.can("scale")

    assert asyncio.run(run()) == (supervisord.CAPABILITIES, False)

"""The HAProxy driver against the real HAProxy: its runtime socket, its words."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import httpx
import pytest
from cryptography import x509
from pydantic import ValidationError

from quell.errors import Permanent, Transient
from quell.incident.service import Service
from quell.plugins.drivers import haproxy
from tests.fakes.serving import FakeServer, Reply, Request
from tests.fakes.tls import TestAuthority
from tests.plugins.world import probe_over
from tests.servers.haproxy import HAProxy
from tests.servers.ports import free_port
from tests.servers.process import wait_until

T = TypeVar("T")
SERVICE = Service(name="payment")


class Origin(FakeServer):
    """Answers at once, or under ``/hold`` when the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()
        self.holding = threading.Event()
        self.sick = False

    def answer(self, request: Request) -> Reply:
        if request.path == "/hold":
            self.holding.set()
            self.let_go.wait(20)
        return Reply.text("ok", 503 if self.sick else 200)


@pytest.fixture
def origins() -> Iterator[tuple[Origin, Origin]]:
    with Origin() as one, Origin() as two:
        yield one, two
        one.let_go.set()
        two.let_go.set()


@pytest.fixture
def proxy(origins: tuple[Origin, Origin]) -> Iterator[HAProxy]:
    one, two = (origin.url.removeprefix("http://") for origin in origins)
    sections = f"""\
frontend in
    bind 127.0.0.1:${{PORT}}
    default_backend payment

backend payment
    option httpchk GET /health
    server p-one {one} check inter 30 fall 1 rise 1
    server p-two {two} check inter 30 fall 1 rise 1
    server other-3 {two} disabled
"""
    with HAProxy(sections) as started:
        wait_until(
            lambda: [state for name, state in started.servers().items() if "/p-" in name] == ["UP", "UP"], "servers"
        )
        yield started


def drive(server: HAProxy | str, act: Callable[[haproxy.Haproxy], Awaitable[T]], **config: object) -> T:
    place = server if isinstance(server, str) else str(server.socket)
    settings = haproxy.Config.model_validate({"socket": place, "backend": "payment", "server": "p-{replica}", **config})

    async def run() -> T:
        async with probe_over() as probe:
            return await act(haproxy.connect(settings, SERVICE, probe))

    return asyncio.run(run())


def test_drained_gets_no_users_until_undrained(proxy: HAProxy, origins: tuple[Origin, Origin]) -> None:
    assert drive(proxy, lambda driver: driver.drain("one")) == "payment/p-one drained"
    assert proxy.servers()["payment/p-one"] == "DRAIN"
    before = _users(origins[0])
    for _ in range(10):
        assert httpx.get(f"{proxy.url}/user").text == "ok"
    assert _users(origins[0]) == before

    assert drive(proxy, lambda driver: driver.undrain("one")) == "payment/p-one UP"
    for _ in range(10):
        httpx.get(f"{proxy.url}/user")
    assert _users(origins[0]) > before


def _users(origin: Origin) -> int:
    return sum(request.path == "/user" for request in origin.requests)


def _hold(proxy: HAProxy, origins: tuple[Origin, Origin]) -> tuple[threading.Thread, str, list[int]]:
    """One session that lasts; the name of the replica it went to, and where its status will be."""
    statuses: list[int] = []
    session = threading.Thread(target=lambda: statuses.append(httpx.get(f"{proxy.url}/hold", timeout=20).status_code))
    session.start()
    wait_until(lambda: any(origin.holding.is_set() for origin in origins), "the session")
    return session, "one" if origins[0].holding.is_set() else "two", statuses


def test_drain_waits_for_the_sessions(proxy: HAProxy, origins: tuple[Origin, Origin]) -> None:
    session, replica, statuses = _hold(proxy, origins)

    async def act(driver: haproxy.Haproxy) -> tuple[bool, str]:
        drain = asyncio.create_task(driver.drain(replica))
        async with asyncio.timeout(10):
            while proxy.servers()[f"payment/p-{replica}"] != "DRAIN":
                await asyncio.sleep(0.01)
        waiting = not drain.done()
        for origin in origins:
            origin.let_go.set()
        return waiting, await drain

    assert drive(proxy, act, drain_within="15s") == (True, f"payment/p-{replica} drained")
    session.join()
    assert statuses == [200]


def test_drain_says_which_sessions_outlast_it(proxy: HAProxy, origins: tuple[Origin, Origin]) -> None:
    session, replica, _ = _hold(proxy, origins)
    said = drive(proxy, lambda driver: driver.drain(replica), drain_within="100ms")
    assert said == f"payment/p-{replica} drained, 1 sessions left"
    for origin in origins:
        origin.let_go.set()
    session.join()


def test_undrain_of_a_sick_server_is_a_timeout_that_says_why(proxy: HAProxy, origins: tuple[Origin, Origin]) -> None:
    drive(proxy, lambda driver: driver.drain("two"))
    origins[1].sick = True
    wait_until(lambda: "DOWN" in proxy.servers()["payment/p-two"], "the check fails")
    with pytest.raises(Permanent, match=r"DOWN .*after 0\.2 s") as failure:
        drive(proxy, lambda driver: driver.undrain("two"), ready_within="200ms")
    assert failure.value.error_class == "timeout"


def test_state_is_there_when_asked_for(proxy: HAProxy) -> None:
    drive(proxy, lambda driver: driver.drain("one"))
    state = drive(proxy, lambda driver: driver.state(), state=True)
    assert [(one.name, one.ready) for one in state.replicas] == [("one", False), ("two", True)]
    assert (state.desired, state.rolling) == (2, True)
    with pytest.raises(Permanent) as failure:
        drive(proxy, lambda driver: driver.state())
    assert failure.value.error_class == "denied"


def test_the_runtime_api_over_tcp(proxy: HAProxy) -> None:
    assert drive(proxy.admin, lambda driver: driver.drain("two")) == "payment/p-two drained"


@pytest.mark.parametrize(
    ("replica", "config", "error_class"),
    [
        ("nine", {}, "missing"),
        ("one", {"backend": "paymnt"}, "missing"),
        ("one state maint; set server payment/p-two", {}, "invalid"),
        ("one\nset server payment/p-two", {}, "invalid"),
        ("one", {"socket": "localhost"}, "invalid"),
    ],
)
def test_what_haproxy_does_not_know_or_must_not_hear(
    proxy: HAProxy, replica: str, config: dict[str, object], error_class: str
) -> None:
    with pytest.raises(Permanent) as failure:
        drive(proxy, lambda driver: driver.drain(replica), **config)
    assert failure.value.error_class == error_class
    assert set(proxy.servers().values()) == {"UP", "MAINT"}


@pytest.mark.parametrize("place", ["127.0.0.1:{port}", "/nowhere/admin.sock"])
def test_nobody_there_may_pass(place: str) -> None:
    place = place.format(port=free_port())
    with pytest.raises(Transient) as failure:
        drive(place, lambda driver: driver.drain("one"))
    assert failure.value.error_class == "refused"


def test_a_flood_is_cut() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def flood() -> None:
            connection, _ = listener.accept()
            with connection:
                try:
                    while True:
                        connection.sendall(b"#" * 65_536)
                except OSError:
                    return

        thread = threading.Thread(target=flood)
        thread.start()
        with pytest.raises(Permanent) as failure:
            drive(f"127.0.0.1:{listener.getsockname()[1]}", lambda driver: driver.state(), state=True)
        thread.join(10)
    assert failure.value.error_class == "too_large"
    assert not thread.is_alive()


@pytest.mark.parametrize("wrong", [{"backend": "a;b"}, {"server": "web"}, {"server": "{replica} x"}, {"sockt": "x"}])
def test_a_wrong_config_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        haproxy.Config.model_validate({"socket": "/s", "backend": "b", **wrong})


def test_a_certificate_is_replaced_without_a_restart(tmp_path: Path) -> None:
    authority = TestAuthority(tmp_path)
    old = authority.leaf("localhost", "expiring").read_text()
    new = authority.leaf("localhost").read_text()
    stranger = authority.leaf("localhost", "untrusted").read_text()
    sections = """\
frontend in
    bind 127.0.0.1:${PORT} ssl crt "${FOLDER}/site.pem"
    http-request return status 200
"""
    with HAProxy(sections, files={"site.pem": old}) as proxy:
        wait_until(lambda: _served(proxy.port) == _serial(old), "the old certificate")
        path = f"{proxy.folder}/site.pem"
        said = drive(proxy, lambda driver: driver.certificate(path, new))
        assert said.endswith(path)
        wait_until(lambda: _served(proxy.port) == _serial(new), "the new certificate")

        key, begin, chain = stranger.partition("-----BEGIN CERTIFICATE")
        mixed = key + begin + new.partition("-----BEGIN CERTIFICATE")[2]
        assert chain
        keyless = begin + new.partition("-----BEGIN CERTIFICATE")[2]
        for wrong_path, pem in (
            (path, mixed),
            (path, keyless),
            (path, "no pem"),
            ("/other.pem", old),
            ("x; show info", old),
        ):
            with pytest.raises(Permanent) as failure:
                drive(proxy, lambda driver, p=wrong_path, text=pem: driver.certificate(p, text))
            assert "PRIVATE KEY" not in str(failure.value)
            # HAProxy marks what is set and not yet committed by a star.
            assert "*" not in proxy.command("show ssl cert")
        assert _served(proxy.port) == _serial(new)
        drive(proxy, lambda driver: driver.certificate(path, old))
        wait_until(lambda: _served(proxy.port) == _serial(old), "the old certificate again")


def _serial(pem: str) -> int:
    return x509.load_pem_x509_certificates(pem.encode())[0].serial_number


def _served(port: int) -> int:
    try:
        return _serial(ssl.get_server_certificate(("127.0.0.1", port), timeout=2))
    except OSError:
        return 0

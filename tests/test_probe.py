"""Secrets, connections and the address guard: what a plug-in gets, and what it never does."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import httpx
import pytest

from quell.errors import Permanent
from quell.ports import Connection, Service
from quell.probe import guard_address, learn_references, make_client, resolve_secret
from quell.redact import KNOWN
from tests.fakes.serving import Reply
from tests.fakes.sink import FakeSink
from tests.plugins.world import probe_over

pytestmark = pytest.mark.anyio

FORBIDDEN = [
    "169.254.169.254", "169.254.0.1", "[fe80::1]", "fe80::1%eth0", "fd00:ec2::254", "metadata.google.internal", "metadata",
    "Metadata.Google.Internal.", "::ffff:169.254.169.254", "[::ffff:a9fe:a9fe]", "2852039166", "0xA9FEA9FE",
    "169.254.43518", "0251.0376.0251.0376", "169.254.169.254.", "100.100.100.200", "[64:ff9b::a9fe:a9fe]",
    "64:ff9b::169.254.169.254", "2002:a9fe:a9fe::1",
]  # fmt: skip


@pytest.mark.parametrize("host", FORBIDDEN)
def test_link_local_and_metadata_addresses_are_refused_however_they_are_spelled(host: str) -> None:
    with pytest.raises(Permanent) as refused:
        guard_address(host, frozenset())
    assert refused.value.error_class == "denied"
    guard_address(host, frozenset({host}))


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "10.0.0.1", "example.org", "[::1]", "::ffff:10.0.0.1", "metadata.example.org", ""]
)
def test_other_hosts_pass(host: str) -> None:
    guard_address(host, frozenset())


async def test_the_guard_is_in_the_client() -> None:
    async with make_client() as client:
        with pytest.raises(Permanent, match="link-local"):
            await client.get("http://169.254.169.254/latest/meta-data/")


LOOPBACK = tuple(ipaddress.ip_network(text) for text in ("127.0.0.0/8", "::1/128"))
"""Forbidden in these tests in place of addresses that nobody here can listen on."""


async def test_a_name_that_leads_to_a_forbidden_address_gets_no_byte() -> None:
    with FakeSink() as sink:
        url = sink.url.replace("127.0.0.1", "localhost")
        async with make_client(forbidden=LOOPBACK) as client:
            with pytest.raises(Permanent, match="localhost leads to a forbidden address") as refused:
                await client.get(url)
            assert refused.value.error_class == "denied"
            with pytest.raises(Permanent, match="leads to a forbidden"):
                await client.get(url)
        assert sink.received == []
        async with make_client(["localhost"], LOOPBACK) as client:
            assert (await client.get(url)).status_code == 200
        async with make_client(["127.0.0.1"], LOOPBACK) as client:
            assert (await client.get(url)).status_code == 200


async def test_a_redirect_is_guarded_as_the_first_request_was() -> None:
    with FakeSink() as first, FakeSink() as second:
        first.reply = Reply(302, headers={"location": second.url})
        async with make_client(["localhost"], LOOPBACK) as client:
            with pytest.raises(Permanent, match="link-local or metadata"):
                await client.get(first.url.replace("127.0.0.1", "localhost"), follow_redirects=True)
        assert (len(first.received), second.received) == (1, [])


async def test_a_redirect_is_shown_and_not_followed() -> None:
    with FakeSink() as sink:
        sink.reply = Reply(302, headers={"location": "http://169.254.169.254/"})
        async with make_client() as client:
            assert (await client.get(sink.url)).status_code == 302
        assert len(sink.received) == 1


def test_secrets_come_from_the_environment_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_KEY", "s3cret")
    (tmp_path / "key").write_text("s3cret\n")
    assert resolve_secret("env:SHOP_KEY") == resolve_secret(f"file:{tmp_path}/key") == "s3cret"


@pytest.mark.parametrize(
    "reference", ["env:NO_SUCH_THING", "file:/no/such/file", "s3cret-itself", "vault:x", "", "env:"]
)
def test_a_reference_that_leads_nowhere_says_so_without_a_value(reference: str) -> None:
    with pytest.raises(Permanent) as wrong:
        resolve_secret(reference)
    assert "s3cret" not in str(wrong.value)


def test_a_file_that_is_no_text_is_no_secret(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xff\xfes3cret")
    with pytest.raises(Permanent) as wrong:
        resolve_secret(f"file:{tmp_path}/key")
    assert "s3cret" not in str(wrong.value)


def connection(name: str, kind: str = "prometheus") -> Connection:
    return Connection(name, kind, url=f"http://{name}", password="s3cret", headers={"Authorization": "s3cret"})


async def test_connections_by_name_by_type_and_not_by_guess() -> None:
    async with probe_over(connection("eu"), connection("us"), connection("pg", "postgresql")) as probe:
        assert probe.connection("us", "prometheus").name == "us"
        assert probe.connection(None, "postgresql").name == "pg"
        with pytest.raises(Permanent, match="2 connections of type prometheus"):
            probe.connection(None, "prometheus")
        with pytest.raises(Permanent, match="known: eu, pg, us"):
            probe.connection("ue", "prometheus")
        with pytest.raises(Permanent, match="is postgresql; prometheus is needed"):
            probe.connection("pg", "prometheus")
        with pytest.raises(Permanent, match="no connection of type redis"):
            probe.connection(None, "redis")
    async with probe_over(connection("eu"), connection("prometheus")) as probe:
        assert probe.connection(None, "prometheus").name == "prometheus"


def test_a_connection_never_shows_its_secrets() -> None:
    assert "s3cret" not in repr(connection("eu"))


async def test_services_by_name_and_alias() -> None:
    async with probe_over(services=[Service(name="payment", aliases=("pay",))]) as probe:
        assert probe.service("pay").name == probe.service("payment").name == "payment"
        with pytest.raises(Permanent, match="did you mean 'payment'"):
            probe.service("paymnet")


async def test_the_driver_of_a_service_is_configured_or_refused() -> None:
    service = Service.model_validate({"name": "shop", "drivers": [{"type": "haproxy", "nonsense": 1}]})
    async with probe_over(services=[service]) as probe:
        with pytest.raises(Permanent, match="service 'shop', driver haproxy"):
            probe.fleet("shop")


async def test_the_client_uses_no_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with FakeSink() as sink:
        async with make_client() as client:
            answer: httpx.Response = await client.get(sink.url)
        assert answer.status_code == 200


def test_what_was_read_is_a_secret_from_then_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("QUELL_TEST_A", "tk-77Qx91")
    (tmp_path / "b").write_text("tk-88Rx92\n")
    assert KNOWN.text("tk-77Qx91 tk-88Rx92") == "tk-77Qx91 tk-88Rx92"
    resolve_secret("env:QUELL_TEST_A")
    assert KNOWN.text("tk-77Qx91 tk-88Rx92") == "••• tk-88Rx92"
    learn_references({"deep": [{"in": f"file:{tmp_path / 'b'}"}, "env:QUELL_TEST_NOT_THERE", "no reference"]})
    assert KNOWN.text("tk-77Qx91 tk-88Rx92") == "••• •••"

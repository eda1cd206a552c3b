"""The certificate check against a TLS server that shows certificates with one thing wrong each, and against files."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from quell.errors import Permanent, Transient
from quell.plugins.checks import _chain, certificate
from quell.ports import Reading
from tests.fakes.tls import KINDS, TestAuthority, TlsServer
from tests.plugins.checks.reading import read, read_async
from tests.servers.ports import free_port
from tests.servers.process import locate

HOST = "127.0.0.1"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TestAuthority:
    return TestAuthority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def server(authority: TestAuthority) -> Iterator[TlsServer]:
    with TlsServer(authority.leaf("default.test")) as started:
        for kind in KINDS:
            started.serve(f"{kind.replace('_', '-')}.test", authority.leaf(f"{kind.replace('_', '-')}.test", kind))
        yield started


def look(server: TlsServer, authority: TestAuthority, kind: str, **config: Any) -> Reading:
    name = f"{kind.replace('_', '-')}.test"
    settings = {"host": HOST, "port": server.port, "sni": name, "ca": str(authority.root_file), **config}
    return read(certificate, {key: value for key, value in settings.items() if value is not None})


def verdict(reading: Reading) -> tuple[bool, ...]:
    return tuple(reading.facts[name] for name in ("trusted", "chain_complete", "chain_valid", "san_matches", "expired"))


@pytest.mark.parametrize(
    ("kind", "expected", "reason"),
    [
        ("good", (True, True, True, True, False), None),
        ("expiring", (True, True, True, True, False), None),
        ("expired", (False, True, False, True, True), "expired"),
        ("not_yet", (False, True, False, True, False), "not yet valid"),
        ("wrong_name", (False, True, True, False, False), "do not cover 'wrong-name.test'"),
        ("incomplete", (False, False, False, True, False), "unable to get local issuer"),
        ("self_signed", (False, True, False, True, False), "self-signed certificate"),
        ("untrusted", (False, True, False, True, False), "self-signed certificate in certificate chain"),
    ],
)
def test_what_is_wrong_is_a_fact_with_its_reason(
    server: TlsServer, authority: TestAuthority, kind: str, expected: tuple[bool, ...], reason: str | None
) -> None:
    reading = look(server, authority, kind)
    assert verdict(reading) == expected
    if reason is None:
        assert "reason" in reading.missing
    else:
        assert reason in reading.facts["reason"]
    from_file = read(
        certificate,
        {
            "path": str(authority.directory / f"{kind.replace('_', '-')}.test-{kind}.pem"),
            "sni": f"{kind.replace('_', '-')}.test",
            "ca": str(authority.root_file),
        },
    )
    # OpenSSL judged the connection, we judged the file: the two agree.
    assert verdict(from_file) == expected
    assert ("reason" in from_file.facts) == (reason is not None)
    for name in ("fingerprint", "serial", "subject", "issuer", "san", "key_type", "key_bits", "chain_length"):
        assert from_file.facts[name] == reading.facts[name]


def test_the_numbers_are_the_certificate_s(server: TlsServer, authority: TestAuthority) -> None:
    reading = look(server, authority, "good")
    leaf = x509.load_pem_x509_certificates((authority.directory / "good.test-good.pem").read_bytes())[0]
    facts = reading.facts
    assert facts["not_after"] == leaf.not_valid_after_utc.timestamp()
    assert facts["days_left"] == pytest.approx(60, abs=0.1)
    assert facts["expires_in"] == pytest.approx(60 * 86_400, abs=3600)
    assert (facts["key_type"], facts["key_bits"], facts["signature"]) == ("EC", 256, "sha256")
    assert facts["fingerprint"] == leaf.fingerprint(hashes.SHA256()).hex()
    assert (facts["san"], facts["subject"], facts["self_signed"]) == (["good.test"], "CN=good.test", False)
    assert facts["tls_version"] in ("TLSv1.2", "TLSv1.3")
    assert facts["chain_length"] == 2


def test_an_expired_one_has_negative_days(server: TlsServer, authority: TestAuthority) -> None:
    facts = look(server, authority, "expired").facts
    assert facts["days_left"] == pytest.approx(-1, abs=0.1)
    assert facts["expires_in"] < 0


def test_without_the_authority_the_system_does_not_trust_it(server: TlsServer, authority: TestAuthority) -> None:
    reading = look(server, authority, "good", ca=None)
    assert reading.facts["trusted"] is False
    assert reading.facts["chain_valid"] is False


def test_the_name_that_is_asked_for_picks_the_certificate(server: TlsServer, authority: TestAuthority) -> None:
    assert look(server, authority, "good", sni=None).facts["subject"] == "CN=default.test"
    assert look(server, authority, "good", sni=None).facts["san_matches"] is False


def test_the_key_is_this_certificate_s_or_another_s(server: TlsServer, authority: TestAuthority) -> None:
    mine, other = (authority.directory / f"{kind}.test-{kind}.pem" for kind in ("good", "expired"))
    assert look(server, authority, "good", key=str(mine)).facts["key_matches"] is True
    assert look(server, authority, "good", key=str(other)).facts["key_matches"] is False
    assert "no key is given" in look(server, authority, "good").missing["key_matches"].reason


def test_an_rsa_key_made_by_openssl(tmp_path: Path) -> None:
    subprocess.run(
        [
            locate("openssl", "openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "5", "-subj", "/CN=x",
            "-addext", "subjectAltName=DNS:x.test,DNS:*.y.test,IP:127.0.0.9", "-keyout", tmp_path / "key.pem",
            "-out", tmp_path / "cert.pem",
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    config = {"path": str(tmp_path / "cert.pem"), "key": str(tmp_path / "key.pem")}
    facts = read(certificate, config | {"sni": "a.y.test"}).facts
    assert (facts["key_type"], facts["key_bits"], facts["key_matches"]) == ("RSA", 2048, True)
    assert facts["san"] == ["x.test", "*.y.test", "127.0.0.9"]
    assert (facts["self_signed"], facts["trusted"], facts["san_matches"]) == (True, False, True)
    trusted = read(certificate, config | {"ca": str(tmp_path / "cert.pem")})
    assert trusted.facts["trusted"] is True
    assert "no name is asked for" in trusted.missing["san_matches"].reason


@pytest.mark.parametrize(
    ("config", "error", "error_class"),
    [
        ({"port": free_port()}, Transient, "refused"),
        ({"host": "no-such-host.invalid"}, Transient, "dns"),
        ({"ca": "/nowhere.pem"}, Permanent, "missing"),
        ({"key": "/nowhere.pem"}, Permanent, "missing"),
        ({"host": None, "path": "/nowhere.pem"}, Permanent, "missing"),
        ({"host": None, "path": __file__}, Permanent, "invalid"),
        ({"key": __file__}, Permanent, "invalid"),
    ],
)
def test_what_could_not_be_looked_at_is_an_error(
    server: TlsServer, authority: TestAuthority, config: dict[str, Any], error: type[Exception], error_class: str
) -> None:
    with pytest.raises(error) as failure:
        look(server, authority, "good", **config)
    assert getattr(failure.value, "error_class", None) == error_class


@pytest.fixture
def plain() -> Iterator[tuple[socket.socket, list[socket.socket]]]:
    """A server that does not speak TLS: it says what it is told to, or nothing."""
    held: list[socket.socket] = []
    with socket.create_server((HOST, 0)) as listener:
        yield listener, held
        for one in held:
            one.close()


def test_a_port_that_does_not_speak_tls(plain: tuple[socket.socket, list[socket.socket]]) -> None:
    listener, held = plain

    def answer() -> None:
        one, _ = listener.accept()
        held.append(one)
        one.sendall(b"220 mail.test ESMTP ready\r\n")

    thread = threading.Thread(target=answer)
    thread.start()
    with pytest.raises(Permanent) as failure:
        read(certificate, {"host": HOST, "port": listener.getsockname()[1]})
    thread.join()
    assert failure.value.error_class == "tls"


def test_a_silent_port_can_be_cancelled(plain: tuple[socket.socket, list[socket.socket]]) -> None:
    listener, held = plain

    async def run() -> None:
        task = asyncio.create_task(read_async(certificate, {"host": HOST, "port": listener.getsockname()[1]}))
        held.append((await asyncio.to_thread(listener.accept))[0])
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())


@pytest.mark.parametrize(
    ("known", "wanted", "covered"),
    [
        (["a.test"], "a.test", True),
        (["A.test"], "a.TEST.", True),
        (["*.a.test"], "b.a.test", True),
        (["*.a.test"], "a.test", False),
        (["*.a.test"], "c.b.a.test", False),
        (["*.test"], "a.test", False),
        (["*"], "a", False),
        (["127.0.0.1"], "127.0.0.1", True),
        (["*.0.0.1"], "127.0.0.1", False),
        (["::1"], "[::1]", True),
        ([], "a.test", False),
    ],
)
def test_names(known: list[str], wanted: str, covered: bool) -> None:
    assert _chain.covers(known, wanted) is covered


@given(st.lists(st.text(max_size=20), max_size=4), st.text(max_size=20))
def test_any_text_is_a_name_or_not(known: list[str], wanted: str) -> None:
    assert _chain.covers(known, wanted) in (True, False)


def test_a_chain_in_any_order_leads_to_its_end(authority: TestAuthority) -> None:
    leaf, middle = x509.load_pem_x509_certificates((authority.leaf("chain.test")).read_bytes())
    root = authority.root.certificate
    assert _chain.path_from([leaf, root, middle], [root]) == (True, None)
    assert _chain.path_from([leaf], [middle]) == (True, None)
    assert _chain.path_from([leaf, middle], [])[0] is False
    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=61)
    assert "expired" in (_chain.out_of_date([leaf, middle], later) or "")
    assert _chain.out_of_date([leaf, middle], dt.datetime.now(dt.UTC)) is None


@pytest.mark.parametrize("wrong", [{}, {"host": "a", "path": "/b"}, {"host": "a", "port": 0}, {"hst": "a"}])
def test_wrong_parameters_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        certificate.Params.model_validate(wrong)

"""Certificates with one thing wrong each, looked at by a real TLS client."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from tests.fakes.tls import TestAuthority, TlsServer

HOST = "pay.test"


def shake(authority: TestAuthority, server: TlsServer, name: str = HOST) -> dict[str, object]:
    """A handshake that trusts only the test root; raises ssl.SSLError."""
    context = ssl.create_default_context(cafile=str(authority.root_file))
    raw = socket.create_connection(("127.0.0.1", server.port), timeout=5)
    with raw, context.wrap_socket(raw, server_hostname=name) as connection:
        return dict(connection.getpeercert() or {})


@pytest.fixture
def authority(tmp_path: Path) -> TestAuthority:
    return TestAuthority(tmp_path)


def test_a_good_chain_is_trusted_and_serves(authority: TestAuthority) -> None:
    with TlsServer(authority.leaf(HOST)) as server:
        assert shake(authority, server)["subjectAltName"] == (("DNS", HOST),)
    with TlsServer(authority.leaf("127.0.0.1")) as server:
        trust = ssl.create_default_context(cafile=str(authority.root_file))
        assert httpx.get(f"https://127.0.0.1:{server.port}/", verify=trust).text == "ok"


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("expired", "certificate has expired"),
        ("not_yet", "not yet valid"),
        ("wrong_name", "Hostname mismatch"),
        ("incomplete", "unable to get local issuer certificate"),
        ("self_signed", "self.signed certificate"),
        ("untrusted", "self.signed certificate in certificate chain|unable to get local issuer certificate"),
    ],
)
def test_each_kind_fails_for_its_own_reason(authority: TestAuthority, kind: str, why: str) -> None:
    with TlsServer(authority.leaf(HOST, kind)) as server, pytest.raises(ssl.SSLCertVerificationError, match=why):
        shake(authority, server)


def test_an_expiring_certificate_is_still_good_for_less_than_a_day(authority: TestAuthority) -> None:
    path = authority.leaf(HOST, "expiring")
    leaf = x509.load_pem_x509_certificate(path.read_bytes())
    left = leaf.not_valid_after_utc - dt.datetime.now(dt.UTC)
    assert dt.timedelta(0) < left < dt.timedelta(days=1)
    with TlsServer(path) as server:
        assert shake(authority, server)


def test_days_until_expiry_can_be_chosen(authority: TestAuthority) -> None:
    leaf = x509.load_pem_x509_certificate(authority.leaf(HOST, days=13.5).read_bytes())
    assert (leaf.not_valid_after_utc - dt.datetime.now(dt.UTC)).days == 13


def test_the_certificate_follows_the_name_that_was_asked_for_and_can_be_renewed(authority: TestAuthority) -> None:
    with TlsServer(authority.leaf("other.test")) as server:
        with pytest.raises(ssl.SSLCertVerificationError):
            shake(authority, server)
        server.serve(HOST, authority.leaf(HOST, "expired"))
        with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
            shake(authority, server)
        server.serve(HOST, authority.leaf(HOST))
        assert shake(authority, server)
        assert shake(authority, server, "other.test")
        assert server.asked == [HOST, HOST, HOST, "other.test"]

"""A test certificate authority, leaf certificates with one thing wrong each, and a TLS server that shows them.

The chain is root → intermediate → leaf, all P-256. Kinds: `good`, `expired`, `expiring` (within a day),
`not_yet`, `wrong_name`, `incomplete` (the intermediate is not sent), `self_signed`, `untrusted` (a root
that nobody trusts). The server picks a certificate by the name the client asks for (SNI, RFC 6066) and
answers any HTTP request with 200, so that it can be scraped as well as shaken hands with.

Keys live in the directory that the caller gives; nothing here may be trusted by anything but a test.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

KINDS = ("good", "expired", "expiring", "not_yet", "wrong_name", "incomplete", "self_signed", "untrusted")
DAY = dt.timedelta(days=1)
SPANS = {"expired": (-30, -1), "expiring": (-30, 0.5), "not_yet": (1, 30)}


@dataclass(frozen=True)
class Issuer:
    """A certificate that signs, and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


class TestAuthority:
    """Root and intermediate; `root_file` is what a client must trust."""

    __test__ = False  # not a test class, whatever its name begins with

    def __init__(self, directory: Path, name: str = "quell test") -> None:
        self.directory = directory
        self.root = _issue(f"{name} root", None, (-365, 3650), authority=1)
        self.intermediate = _issue(f"{name} intermediate", self.root, (-365, 1825), authority=0)
        self.root_file = directory / f"{name.replace(' ', '-')}-root.pem"
        self.root_file.write_bytes(_pem(self.root.certificate))

    def leaf(self, hostname: str, kind: str = "good", *, days: float | None = None) -> Path:
        """A PEM file of key and chain for `hostname`; `days` until expiry overrides the kind's."""
        assert kind in KINDS, f"{kind!r} is none of {KINDS}"
        since, until = SPANS.get(kind, (-30, 60))
        span = (min(since, (days if days is not None else until) - 1), until if days is None else days)
        name = f"other-{hostname}" if kind == "wrong_name" else hostname
        signer: Issuer | None = self.intermediate
        if kind == "self_signed":
            signer = None
        if kind == "untrusted":
            stranger = _issue("nobody knows me", None, (-365, 365), authority=0)
            signer = stranger
        leaf = _issue(name, signer, span, names=[name])
        chain = [leaf.certificate]
        if signer is not None and kind != "incomplete":
            chain.append(signer.certificate)
        path = self.directory / f"{hostname}-{kind}.pem"
        key = leaf.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(key + b"".join(_pem(certificate) for certificate in chain))
        path.chmod(0o600)
        return path


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _issue(
    common_name: str,
    issuer: Issuer | None,
    span: tuple[float, float],
    *,
    authority: int | None = None,
    names: list[str] | None = None,
) -> Issuer:
    """Sign a certificate valid from span[0] to span[1] days from now; `authority` is its path length."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    signer = issuer.key if issuer else key
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + DAY * span[0])
        .not_valid_after(now + DAY * span[1])
        .add_extension(x509.BasicConstraints(authority is not None, authority), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(_usage(signs=authority is not None), critical=True)
    )
    if names:
        alternative = x509.SubjectAlternativeName([_general(name) for name in names])
        builder = builder.add_extension(alternative, critical=False)
        server = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        builder = builder.add_extension(server, critical=False)
    return Issuer(builder.sign(signer, hashes.SHA256()), key)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class TlsServer:
    """Serves `default` and, by SNI, the certificates given to `serve`; a context manager."""

    def __init__(self, default: Path) -> None:
        self._default = _context(default)
        self._by_name: dict[str, ssl.SSLContext] = {}
        self._default.sni_callback = self._choose
        self.asked: list[str | None] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def serve(self, hostname: str, certificate: Path) -> None:
        """Show this certificate to clients that ask for `hostname`; replaces an earlier one (renewal)."""
        self._by_name[hostname] = _context(certificate)

    @property
    def port(self) -> int:
        """The loopback port."""
        return int(self._listener.getsockname()[1])

    def _choose(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        self.asked.append(name)
        connection.context = self._by_name.get(name or "", self._default)

    def __enter__(self) -> Self:
        self._threads.append(threading.Thread(target=self._accept, daemon=True))
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                raw, _ = self._listener.accept()
            except TimeoutError:
                continue
            thread = threading.Thread(target=self._answer, args=(raw,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _answer(self, raw: socket.socket) -> None:
        raw.settimeout(2)
        try:
            with self._default.wrap_socket(raw, server_side=True) as connection:
                if connection.recv(65536):
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        except OSError:
            raw.close()  # clients that refuse the certificate hang up: that is what is tested


def _context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context

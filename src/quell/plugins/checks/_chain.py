"""Certificates read as facts: names, keys, and whether a chain leads to somebody trusted.

Source: RFC 5280 (profiles and paths), RFC 6125 (names and wildcards). Pure, apart from reading files of certificates.
Never does: connect; judge a connection (OpenSSL does that where there is one).
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa

from quell.errors import Permanent

_KINDS = (
    (rsa.RSAPublicKey, "RSA"), (ec.EllipticCurvePublicKey, "EC"), (ed25519.Ed25519PublicKey, "Ed25519"),
    (ed448.Ed448PublicKey, "Ed448"), (dsa.DSAPublicKey, "DSA"),
)  # fmt: skip
_BITS = {"Ed25519": 256, "Ed448": 456}
_LONGEST_PATH = 10
_BEGIN = b"-----BEGIN CERTIFICATE-----"


def from_file(path: Path) -> list[x509.Certificate]:
    """The certificates of a PEM file, leaf first. Raises ``Permanent`` (missing, denied, invalid)."""
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        kind = "denied" if isinstance(error, PermissionError) else "missing"
        raise Permanent(f"{path}: {error.strerror}", kind) from None
    except ValueError:
        raise Permanent(f"{path}: holds no certificate in PEM form", "invalid") from None


def authorities(ca: Path | None) -> list[x509.Certificate]:
    """Whom to trust: those in ``ca``, else the system's bundle."""
    if ca is not None:
        return from_file(ca)
    places = ssl.get_default_verify_paths()
    for bundle in (places.cafile, places.openssl_cafile, "/etc/ssl/certs/ca-certificates.crt"):
        if bundle and Path(bundle).is_file():
            return _readable(Path(bundle).read_bytes())
    return []


def _readable(bundle: bytes) -> list[x509.Certificate]:
    """One by one: a system's bundle may hold an old root that breaks RFC 5280, and the others still count."""
    found = []
    for block in bundle.split(_BEGIN)[1:]:
        with suppress(ValueError):
            found.append(x509.load_pem_x509_certificate(_BEGIN + block))
    return found


def names(leaf: x509.Certificate) -> list[str]:
    """The alternative names: DNS names and addresses."""
    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    addresses = [str(address) for address in found.get_values_for_type(x509.IPAddress)]
    return [*found.get_values_for_type(x509.DNSName), *addresses]


def covers(known: Sequence[str], wanted: str) -> bool:
    """Whether a name fits: exactly, or by a wildcard that stands for the whole first label."""
    host = wanted.rstrip(".").lower()
    try:
        address = ipaddress.ip_address(host.strip("[]"))
        return str(address) in known
    except ValueError:
        pass
    for name in (one.rstrip(".").lower() for one in known):
        if name == host or (name.startswith("*.") and "." in name[2:] and host.partition(".")[2] == name[2:]):
            return True
    return False


def self_signed(certificate: x509.Certificate) -> bool:
    return certificate.issuer == certificate.subject and _signed_by(certificate, certificate)


def _signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def path_from(sent: Sequence[x509.Certificate], trusted: Sequence[x509.Certificate]) -> tuple[bool, str | None]:
    """Whether ``sent`` leads up to its end (a root of its own, or somebody trusted), and why it is not valid.

    The reason is None when the path ends at somebody trusted. Dates are not looked at.
    """
    current, rest = sent[0], list(sent[1:])
    for _ in range(_LONGEST_PATH):
        if any(current == one or (one.subject == current.issuer and _signed_by(current, one)) for one in trusted):
            return True, None
        if self_signed(current):
            return True, "self-signed certificate" if current == sent[0] else "self-signed certificate in chain"
        above = next((one for one in rest if one.subject == current.issuer and _signed_by(current, one)), None)
        if above is None:
            return False, f"the issuer of {current.subject.rfc4514_string()!r} is neither sent nor known"
        rest.remove(above)
        current = above
    return False, f"the chain is longer than {_LONGEST_PATH}"


def out_of_date(chain: Sequence[x509.Certificate], now: datetime) -> str | None:
    """Why the chain is not valid now, by its dates."""
    for one in chain:
        if one.not_valid_after_utc < now:
            return f"{one.subject.rfc4514_string()!r} has expired"
        if one.not_valid_before_utc > now:
            return f"{one.subject.rfc4514_string()!r} is not yet valid"
    return None


def described(leaf: x509.Certificate, now: datetime) -> dict[str, Any]:
    """What one certificate says by itself."""
    left = (leaf.not_valid_after_utc - now).total_seconds()
    kind = next((word for known, word in _KINDS if isinstance(leaf.public_key(), known)), "other")
    return {
        "days_left": left / 86_400, "expires_in": left, "expired": left < 0,
        "not_yet_valid": leaf.not_valid_before_utc > now, "not_before": leaf.not_valid_before_utc.timestamp(),
        "not_after": leaf.not_valid_after_utc.timestamp(), "san": names(leaf),
        "issuer": leaf.issuer.rfc4514_string(), "subject": leaf.subject.rfc4514_string(),
        "self_signed": self_signed(leaf), "key_type": kind,
        "key_bits": getattr(leaf.public_key(), "key_size", _BITS.get(kind, 0)), "serial": f"{leaf.serial_number:x}",
        "fingerprint": leaf.fingerprint(hashes.SHA256()).hex(),
        "signature": leaf.signature_hash_algorithm.name if leaf.signature_hash_algorithm else "",
    }  # fmt: skip


def key_matches(leaf: x509.Certificate, path: Path) -> bool:
    """Whether the private key in the file is this certificate's. Raises ``Permanent`` (missing, denied, invalid)."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        kind = "denied" if isinstance(error, PermissionError) else "missing"
        raise Permanent(f"{path}: {error.strerror}", kind) from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Permanent(f"{path}: holds no private key that can be read (PEM, without a password)", "invalid") from None
    form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(*form) == leaf.public_key().public_bytes(*form)

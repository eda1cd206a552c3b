"""Look at a certificate from outside, as a client meets it in the handshake, or in a PEM file.

    - id: front
      type: certificate
      config:
        host: pay.example.com
        port: 443                      # default
        sni: pay.example.com           # default: the host; also the name that must fit
        ca: /etc/ssl/internal-ca.pem   # default: the system's authorities
        key: /etc/haproxy/pay.key      # optional: does this key belong to what is served?
      interpret: {healthy: trusted && days_left > 21, warning: days_left <= 21, critical: '!trusted || days_left <= 3'}

Or `path: /etc/haproxy/pay.pem` instead of ``host``. What does not verify is a fact with its reason in ``reason``, never
an error: ``chain_complete`` (the server sent all that leads to a root), ``chain_valid`` (that root is trusted and the
dates are good), ``san_matches``, and ``trusted``, which is all of them. An alert on an expiry metric resolves when the
certificate has expired and the scrape fails; this check looks itself. Never does: send application data.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from pydantic import Field, model_validator

from quell import ports
from quell.errors import Permanent, QuellError, Transient
from quell.plugins.checks import _chain
from quell.plugins.checks._tls import trusting
from quell.ports import FactSpec, Missing, Probe, Reading

FACTS: Mapping[str, FactSpec] = {
    "days_left": "number", "expires_in": "duration:s", "expired": "bool", "not_yet_valid": "bool",
    "not_before": "time", "not_after": "time", "san": "list<string>", "san_matches": "bool", "issuer": "string",
    "subject": "string", "chain_complete": "bool", "chain_valid": "bool", "chain_length": "number", "trusted": "bool",
    "reason": "string", "self_signed": "bool", "key_bits": "number", "key_type": "string", "tls_version": "string",
    "cipher": "string", "fingerprint": "string", "key_matches": "bool", "serial": "string", "signature": "string",
    "duration": "duration:ms",
}  # fmt: skip

# x509_vfy.h: the issuer of a certificate could not be found, so the path was never built to its end.
_NO_ISSUER = frozenset({2, 20, 21})


class Params(ports.Params):
    """Either ``host`` or ``path``."""

    host: str | None = Field(default=None, min_length=1, max_length=253)
    port: int = Field(default=443, ge=1, le=65_535)
    """The TCP port that speaks TLS."""
    sni: str | None = Field(default=None, min_length=1, max_length=253)
    """The name to ask for, which must also fit the certificate; by default the host."""
    path: Path | None = None
    ca: Path | None = None
    """A PEM file of authorities to trust instead of the system's."""
    key: Path | None = None
    """A PEM file of a private key, to compare with what is served."""

    @model_validator(mode="after")
    def _one_place(self) -> Params:
        if (self.host is None) == (self.path is None):
            raise ValueError("give either host or path")
        return self


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was served, and what OpenSSL says to it."""

    sent: Sequence[x509.Certificate]
    verify_code: int = 0
    verify_message: str = ""
    tls_version: str = ""
    cipher: str = ""


async def run(params: Params, probe: Probe) -> Reading:
    """Raises ``Transient`` (refused, timeout, unreachable, dns), ``Permanent`` (tls, missing, denied, invalid)."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    missing: dict[str, Missing] = {}
    if params.host is not None:
        seen = await _served(params, probe)
        facts = _from_outside(seen, params, probe)
    else:
        facts = await asyncio.to_thread(_from_file, params, probe)
        missing |= dict.fromkeys(("tls_version", "cipher"), Missing("a file has no connection"))
    facts["duration"] = loop.time() - started
    for name, why in (("reason", "all of it verifies"), ("san_matches", "no name is asked for (sni)")):
        if facts[name] is None:
            del facts[name]
            missing[name] = Missing(why)
    if params.key is None:
        missing["key_matches"] = Missing("no key is given")
    else:
        leaf = facts["_leaf"]
        facts["key_matches"] = await asyncio.to_thread(_chain.key_matches, leaf, params.key)
    leaf = facts.pop("_leaf")
    place = f"{params.host}:{params.port}" if params.host else str(params.path)
    state = "trusted" if facts["trusted"] else facts.get("reason", "not trusted")
    return Reading(
        facts, missing=missing, summary=f"{place}: {facts['days_left']:.1f} days left, {state}",
        observed_at=probe.now(),
        evidence={"place": place, "sni": params.sni, "subject": facts["subject"], "fingerprint": facts["fingerprint"]},
    )  # fmt: skip


def _from_outside(seen: _Seen, params: Params, probe: Probe) -> dict[str, Any]:
    leaf, wanted = seen.sent[0], params.sni or params.host or ""
    facts = _chain.described(leaf, probe.now())
    matches = _chain.covers(facts["san"], wanted)
    complete = seen.verify_code not in _NO_ISSUER
    reason = seen.verify_message if seen.verify_code else None if matches else f"the names do not cover {wanted!r}"
    return facts | {
        "_leaf": leaf, "chain_length": len(seen.sent), "chain_complete": complete, "chain_valid": not seen.verify_code,
        "san_matches": matches, "trusted": not seen.verify_code and matches, "reason": reason,
        "tls_version": seen.tls_version, "cipher": seen.cipher,
    }  # fmt: skip


def _from_file(params: Params, probe: Probe) -> dict[str, Any]:
    assert params.path is not None
    sent, now = _chain.from_file(params.path), probe.now()
    complete, reason = _chain.path_from(sent, _chain.authorities(params.ca))
    reason = reason or _chain.out_of_date(sent, now)
    facts = _chain.described(sent[0], now)
    matches = _chain.covers(facts["san"], params.sni) if params.sni else None
    valid = reason is None
    if matches is False and valid:
        reason = f"the names do not cover {params.sni!r}"
    return facts | {
        "_leaf": sent[0], "chain_length": len(sent), "chain_complete": complete, "chain_valid": valid,
        "san_matches": matches, "trusted": valid and matches is not False, "reason": reason,
    }  # fmt: skip


async def _served(params: Params, probe: Probe) -> _Seen:
    """Two handshakes: one that takes whatever is served, to read it, and one that verifies, to know why not."""
    looking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    looking.check_hostname, looking.verify_mode = False, ssl.CERT_NONE
    # Old servers too: what they serve is what is asked here.
    looking.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    verifying = await asyncio.to_thread(_verifying, params.ca)
    connection = await _handshake(params, looking)
    sent = _sent(connection)
    if not sent:
        raise Permanent(f"{params.host}:{params.port}: the server shows no certificate", "tls")
    cipher = connection.cipher()
    code, message = 0, ""
    try:
        await _handshake(params, verifying)
    except _Unverified as failure:
        code, message = failure.code, failure.message
    return _Seen(sent, code, message, connection.version() or "", cipher[0] if cipher else "")


def _verifying(ca: Path | None) -> ssl.SSLContext:
    """Verifies the chain; the name is compared here, so that the two can be told apart."""
    if ca is None:
        context = ssl.create_default_context()
    else:
        trusting(str(ca))  # says in the house's words what is wrong with the file
        context = ssl.create_default_context(cafile=str(ca))
    context.check_hostname = False
    return context


class _Unverified(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


async def _handshake(params: Params, context: ssl.SSLContext) -> ssl.SSLObject:
    place = f"{params.host}:{params.port}"
    try:
        _, writer = await asyncio.open_connection(
            params.host, params.port, ssl=context, server_hostname=params.sni or params.host
        )
    except ssl.SSLCertVerificationError as error:
        raise _Unverified(error.verify_code, error.verify_message) from None
    except (OSError, ValueError, UnicodeError) as error:
        raise _failure(place, error) from None
    try:
        connection: ssl.SSLObject = writer.get_extra_info("ssl_object")
        return connection
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def _sent(connection: ssl.SSLObject) -> list[x509.Certificate]:
    """Leaf first. Python has the chain in public since 3.13 and within the object since 3.10."""
    inner = getattr(connection, "_sslobj", None)
    chain = getattr(inner, "get_unverified_chain", None)
    found = [one.public_bytes(ssl._ssl.ENCODING_DER) for one in chain() or ()] if chain else []  # type: ignore[attr-defined]
    alone = connection.getpeercert(binary_form=True)
    return [x509.load_der_x509_certificate(der) for der in found or ([alone] if alone else [])]


def _failure(place: str, error: Exception) -> QuellError:
    if isinstance(error, socket.gaierror):
        return Transient(f"{place}: the name does not resolve", "dns")
    if isinstance(error, ConnectionRefusedError):
        return Transient(f"{place}: connection refused", "refused")
    if isinstance(error, ssl.SSLError):
        return Permanent(f"{place}: TLS: {error.reason or 'no handshake'}", "tls")
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return Transient(f"{place}: hung up during the handshake", "unreachable")
    if isinstance(error, TimeoutError) or getattr(error, "errno", None) == errno.ETIMEDOUT:
        return Transient(f"{place}: no answer in time", "timeout")
    if isinstance(error, OSError):
        return Transient(f"{place}: {error.strerror or error}", "unreachable")
    return Permanent(f"{place}: {type(error).__name__}", "invalid")

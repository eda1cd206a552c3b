"""The certificates that messages of Amazon SNS are signed with: fetched, looked at, kept for a while.

What is kept belongs to one HTTP client, so to one process's view of the world. One is fetched at a time, so a storm of
messages asks once. Never does: decide where a certificate may come from, keep one that is not good now.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from datetime import datetime, timedelta
from pathlib import Path
from weakref import WeakKeyDictionary

import httpx
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256

from quell import bodies
from quell.errors import Permanent, Transient
from quell.ports import Probe
from quell.unreached import why

KEPT_FOR = timedelta(days=1)
MOST_KEPT, MOST_WAITING, MOST_BYTES, LEAST_BITS = 16, 64, 65_536, 2_048
UNSIGNED = "missing or wrong signature"
_HASHES = {"1": SHA1, "2": SHA256}


class Unfit(ValueError):
    """A certificate that nothing may be believed for; the text says why."""


class Certificates:
    """Those of one HTTP client, by their addresses."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[datetime, x509.Certificate]] = OrderedDict()
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def at(self, url: str, probe: Probe) -> x509.Certificate:
        """Raises ``Transient`` when it cannot be had, ``Unfit`` when it is not good now; then it is not kept."""
        if (found := self._known(url, probe.now())) is not None:
            return found
        if self._waiting >= MOST_WAITING:
            raise Transient("too many messages wait for a certificate", "exhausted")
        self._waiting += 1
        try:
            async with self._turn:
                return self._known(url, probe.now()) or await self._fetched(url, probe)
        finally:
            self._waiting -= 1

    def _known(self, url: str, now: datetime) -> x509.Certificate | None:
        until, found = self._kept.get(url, (now, None))
        return found if until > now else None

    async def _fetched(self, url: str, probe: Probe) -> x509.Certificate:
        body = await fetch(url, probe, "the certificate of Amazon SNS")
        try:
            found = x509.load_pem_x509_certificate(body)
        except ValueError:
            raise Transient("what Amazon SNS answered is no certificate", "invalid") from None
        now = probe.now()
        in_date(found, now)
        self._kept.pop(url, None)
        while len(self._kept) >= MOST_KEPT:
            self._kept.popitem(last=False)
        self._kept[url] = min(now + KEPT_FOR, found.not_valid_after_utc), found
        return found


_OF_CLIENT: WeakKeyDictionary[httpx.AsyncClient, Certificates] = WeakKeyDictionary()


def kept_for(probe: Probe) -> Certificates:
    return _OF_CLIENT.setdefault(probe.http, Certificates())


async def fetch(url: str, probe: Probe, what: str) -> bytes:
    """What was answered with a 200. Raises ``Transient`` for anything else, ``Permanent`` from the address guard."""
    try:
        async with probe.http.stream("GET", url) as answer:
            body, cut = await bodies.read_within(answer, MOST_BYTES)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError) as error:
        raise why(error, what) from None
    if answer.status_code != httpx.codes.OK:
        raise Transient(f"{what}: HTTP {answer.status_code}", "failed")
    if cut:
        raise Transient(f"{what}: longer than {MOST_BYTES} bytes", "too_large")
    return body


def in_file(path: str, now: datetime) -> x509.Certificate:
    """Raises ``Permanent`` when it cannot be read, ``Unfit`` when it is not good now."""
    try:
        found = x509.load_pem_x509_certificate(Path(path).read_bytes())
    except OSError as error:
        raise Permanent(f"the certificate {path}: {error.strerror}", "missing") from None
    except ValueError:
        raise Permanent(f"the certificate {path} is none in PEM", "invalid") from None
    in_date(found, now)
    return found


def in_date(certificate: x509.Certificate, now: datetime) -> None:
    """Raises ``Unfit``."""
    since, until = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now >= until:
        raise Unfit(f"the certificate expired at {until:%Y-%m-%d %H:%M} UTC")
    if now < since:
        raise Unfit(f"the certificate is not valid before {since:%Y-%m-%d %H:%M} UTC")


def unsigned(certificate: x509.Certificate, version: str, signed: bytes, signature: bytes) -> str | None:
    """Why this is not what the certificate's owner signed, None when it is. ``version`` is SNS's: 1 or 2."""
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return "the certificate's key cannot be read"
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < LEAST_BITS:
        return f"the certificate's key is not RSA of {LEAST_BITS} bits or more"
    try:
        key.verify(signature, signed, padding.PKCS1v15(), _HASHES[version]())
    except InvalidSignature:
        return UNSIGNED
    return None

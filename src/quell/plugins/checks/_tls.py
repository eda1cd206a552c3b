"""Contexts that check certificates, and until when a certificate is good.

Never does: exchange application data over a connection whose certificate was not checked.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import httpx
from cryptography import x509

from quell.errors import Permanent

_LONGEST_LOOK_S = 2.0


@lru_cache(maxsize=32)
def trusting(ca: str | None) -> ssl.SSLContext:
    """A context that trusts the system's authorities and the ones in the file ``ca`` (PEM).

    Raises ``Permanent`` (missing, invalid). Kept, because reading the system's authorities takes tens of milliseconds.
    """
    context = ssl.create_default_context()
    if ca is not None:
        try:
            context.load_verify_locations(cafile=ca)
        except ssl.SSLError:
            raise Permanent(f"ca {ca!r} holds no certificate in PEM form", "invalid") from None
        except OSError as error:
            raise Permanent(f"ca {ca!r}: {error.strerror}", "missing") from None
    return context


def expiry_seen(extensions: Mapping[str, Any]) -> float | None:
    """Epoch seconds at which the certificate of an answer's connection ends; None without TLS."""
    stream = extensions.get("network_stream")
    connection = stream.get_extra_info("ssl_object") if stream is not None else None
    if connection is None:
        return None
    ends = (connection.getpeercert() or {}).get("notAfter")
    return float(ssl.cert_time_to_seconds(ends)) if isinstance(ends, str) else None


async def expiry_of(url: str, limit_s: float) -> float | None:
    """The end of the certificate at an address whose certificate was refused; None when it cannot be had.

    The handshake is not checked, because it is there to look at what did not pass; nothing else is sent or read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    parsed = httpx.URL(url)
    with contextlib.suppress(OSError, TimeoutError, ValueError, ssl.SSLError):
        async with asyncio.timeout(min(limit_s, _LONGEST_LOOK_S)):
            _, writer = await asyncio.open_connection(
                parsed.host, parsed.port or 443, ssl=context, server_hostname=parsed.host
            )
            try:
                der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            finally:
                writer.close()
            return x509.load_der_x509_certificate(der).not_valid_after_utc.timestamp() if der else None
    return None

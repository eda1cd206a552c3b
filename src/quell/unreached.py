"""Why somebody could not be asked over HTTP, in the house's words: from an error of the client's or the system's.

Pure. Never does: ask, or put a part of an address into a sentence that the caller did not give.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from quell.errors import Permanent, QuellError, Transient

_DEEPEST = 12


def causes(error: BaseException, depth: int = 0) -> Iterator[BaseException]:
    """The error and what led to it: the attempts on several addresses are wrapped in an exception group."""
    yield error
    if depth < _DEEPEST:
        inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
        for cause in (*inner, error.__cause__ or error.__context__):
            if cause is not None:
                yield from causes(cause, depth + 1)


def why(error: Exception, where: str) -> QuellError:
    """``Transient`` (dns, refused, timeout, unreachable), ``Permanent`` (tls, invalid), or what was ours already."""
    found = list(causes(error))
    for cause in found:
        if isinstance(cause, QuellError):
            return cause
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Permanent(f"{where}: certificate: {cause.verify_message}", "tls")
        if isinstance(cause, ssl.SSLError):
            return Permanent(f"{where}: TLS: {cause.reason or 'handshake failed'}", "tls")
        if isinstance(cause, socket.gaierror):
            return Transient(f"{where}: the name cannot be resolved", "dns")
        if isinstance(cause, ConnectionRefusedError):
            return Transient(f"{where}: connection refused", "refused")
    if any(isinstance(cause, httpx.TimeoutException | TimeoutError) for cause in found):
        return Transient(f"{where}: no answer in time", "timeout")
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol | ValueError):
        return Permanent(f"{where}: not an address that can be asked", "invalid")
    if isinstance(error, httpx.DecodingError):
        return Permanent(f"{where}: the body is not what its content-encoding says", "invalid")
    return Transient(f"{where}: the connection failed ({type(error).__name__})", "unreachable")


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds of a Retry-After header, a number or a date (RFC 9110, section 10.2.3); None when it says neither."""
    if not value:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds())

"""One bounded HTTP exchange for the drivers that speak HTTP, with failures in the house's words.

Never does: retry, follow a redirect, read more than it was allowed, put a header into an error.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from typing import Any

import httpx

from quell import bodies
from quell.errors import Permanent, Transient
from quell.unreached import causes

MAX_ANSWER = 8 * 1024 * 1024
"""Bytes of an answer that are read before it is refused."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and whole body of one exchange."""

    status: int
    body: bytes
    retry_after: float | None = None

    @property
    def ok(self) -> bool:
        return httpx.codes.is_success(self.status)


async def exchange(
    client: httpx.AsyncClient, method: str, url: str, *, what: str, limit: int = MAX_ANSWER, **options: Any
) -> Answer:
    """Send one request and read its answer; ``what`` names the other side in errors.

    Raises ``Transient`` (refused, unreachable, dns, timeout; lost when the answer got lost), ``Permanent`` (tls,
    invalid, too_large).
    """
    try:
        async with client.stream(method, url, **options) as response:
            body, cut = await bodies.read_within(response, limit)
            if cut:
                raise Permanent(f"{what}: the answer is larger than {limit} bytes", "too_large")
            return Answer(response.status_code, body, _retry_after(response))
    except httpx.ConnectTimeout as error:
        raise Transient(f"{what}: cannot connect in time", "unreachable") from error
    except httpx.TimeoutException as error:
        raise Transient(f"{what}: no answer in time ({type(error).__name__})", "timeout") from error
    except httpx.TransportError as error:
        raise _failure(what, error) from error
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError):
        # Without the library's words and without itself as the cause: both repeat parts of the address.
        raise Permanent(f"{what}: its address is not a usable URL", "invalid") from None


def _failure(what: str, error: httpx.TransportError) -> Transient | Permanent:
    for cause in causes(error):
        if isinstance(cause, ssl.SSLError):
            return Permanent(f"{what}: TLS: {cause.reason or cause}", "tls")
        if isinstance(cause, socket.gaierror):
            return Transient(f"{what}: the name does not resolve", "dns")
        if isinstance(cause, ConnectionRefusedError):
            return Transient(f"{what}: connection refused", "refused")
        if isinstance(cause, FileNotFoundError):
            return Transient(f"{what}: the socket does not exist", "refused")
        if isinstance(cause, PermissionError):
            return Permanent(f"{what}: no permission to connect", "denied")
    if isinstance(error, httpx.UnsupportedProtocol):
        return Permanent(f"{what}: its address is not a usable URL", "invalid")
    sent = not isinstance(error, httpx.ConnectError)
    text = f"the connection broke ({type(error).__name__})" if sent else "cannot connect"
    return Transient(f"{what}: {text}", "lost" if sent else "unreachable")


def _retry_after(response: httpx.Response) -> float | None:
    value = response.headers.get("retry-after", "")
    return float(value) if value.isdecimal() else None

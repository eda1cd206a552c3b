"""One bounded HTTP exchange, and what its failures are called.

Never does: read more than it was allowed, follow a redirect, or put a query string, a header or a login of an
address into an error.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson

from quell import bodies
from quell.ports import Connection
from quell.unreached import why

INLINE_PARSE_BYTES = 64 * 1024
"""JSON above this is parsed in a thread, so that one big answer does not hold up the other checks."""


@dataclass(frozen=True, slots=True)
class Answer:
    """``body`` is at most the allowed bytes; ``cut`` says that there was more."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cut: bool = False
    extensions: Mapping[str, Any] = field(default_factory=dict, repr=False)

    async def json(self) -> Any:
        """Raises ValueError when the body is not JSON."""
        if len(self.body) > INLINE_PARSE_BYTES:
            return await asyncio.to_thread(orjson.loads, self.body)
        return orjson.loads(self.body)


def login_headers(connection: Connection) -> dict[str, str]:
    """The connection's own headers, and its login: user and password → Basic, a password alone → Bearer."""
    headers = dict(connection.headers)
    if connection.username:
        pair = f"{connection.username}:{connection.password}".encode()
        headers["authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    elif connection.password:
        headers["authorization"] = f"Bearer {connection.password}"
    return headers


async def fetch(
    client: httpx.AsyncClient, method: str, url: str, *, max_bytes: int, timeout_s: float, **request: Any
) -> Answer:
    """Ask once and read at most ``max_bytes``. Raises ``Transient`` or ``Permanent``."""
    try:
        async with client.stream(method, url, timeout=httpx.Timeout(timeout_s), **request) as response:
            body, cut = await bodies.read_within(response, max_bytes)
            return Answer(response.status_code, response.headers, body, cut, response.extensions)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError) as error:
        raise why(error, shown(url)) from None


def shown(url: str) -> str:
    """An address fit to be shown: without login, query and fragment."""
    try:
        parsed = httpx.URL(url)
        port = f":{parsed.port}" if parsed.port else ""
        path = "/…" if "@" in parsed.path else parsed.path  # it may be the rest of a login with a / in it
        return f"{parsed.scheme}://{parsed.host}{port}{path}"
    except (httpx.InvalidURL, TypeError, ValueError):
        return "the address"

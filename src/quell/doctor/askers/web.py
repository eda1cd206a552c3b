"""Prometheus, Loki and HTTP connections by one GET; those of notifiers by opening a connection and closing it again.

Never does: follow a redirect, post, put an address or a header into a word of its own.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from email.utils import parsedate_to_datetime

import httpx
import orjson

from quell import addresses, bodies
from quell.doctor.asked import Failure, bounded
from quell.doctor.clocks import Span, span
from quell.doctor.connections import Reached
from quell.errors import Permanent
from quell.ports import Connection
from quell.probe import World, guard_address
from quell.unreached import why

_ASKED = {"prometheus": "/api/v1/query?query=vector(1)", "loki": "/loki/api/v1/labels"}
_MOST_READ = 256 * 1024


async def reached(world: World, connection: Connection, timeout_s: float) -> Reached | Failure:
    return await bounded(_look(world, connection, timeout_s), timeout_s)


async def _look(world: World, connection: Connection, timeout_s: float) -> Reached:
    path = _ASKED.get(connection.type, "")
    url = connection.url.rstrip("/") + path if path else connection.url
    headers, auth = dict(connection.headers), None
    if connection.username:
        auth = httpx.BasicAuth(connection.username, connection.password)
    elif connection.password:
        headers["authorization"] = f"Bearer {connection.password}"
    before, started = time.time(), time.monotonic()
    try:
        async with world.http.stream("GET", url, headers=headers, auth=auth, timeout=timeout_s) as answer:
            took = time.monotonic() - started
            body, _ = await bodies.read_within(answer, _MOST_READ)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError) as error:
        raise why(error, addresses.shown(connection.url)) from None
    said, trouble = _told(connection, answer.status_code, body)
    return Reached(took, said, dated(answer.headers.get("date"), before, before + took), trouble)


def _told(connection: Connection, status: int, body: bytes) -> tuple[str, str]:
    """(what it says of itself, what is wrong with that). Raises ``Permanent`` where it refuses or is something else."""
    where = addresses.shown(connection.url)
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise Permanent(f"{where}: not allowed to ask (HTTP {status})", "denied")
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return "", f"answers HTTP {status}"
    if connection.type not in _ASKED:
        return f"answers HTTP {status}", ""
    name = connection.type.capitalize()
    try:
        document = orjson.loads(body)
    except ValueError:
        document = None
    if isinstance(document, dict) and document.get("status") == "success":
        return f"{name} answers a query", ""
    raise Permanent(f"{where}: not an answer of {name} (HTTP {status})", "missing" if status == 404 else "invalid")


async def touched(url: str, allowed: frozenset[str], timeout_s: float) -> Reached | Failure:
    """Whether somebody accepts there, and for https shows a certificate that is trusted. Nothing is sent."""
    return await bounded(_touch(url, allowed), timeout_s)


async def _touch(url: str, allowed: frozenset[str]) -> Reached:
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError):
        raise Permanent("its address is not a usable URL", "invalid") from None
    if addresses.flaw(url) or parsed.scheme not in ("http", "https"):
        raise Permanent("its address is not a usable URL", "invalid")
    guard_address(parsed.host, allowed)
    secure = parsed.scheme == "https"
    context = ssl.create_default_context() if secure else None
    started = time.monotonic()
    try:
        _, writer = await asyncio.open_connection(parsed.host, parsed.port or (443 if secure else 80), ssl=context)
    except (OSError, ValueError) as error:
        raise why(error, parsed.host) from None  # the path of a webhook is its secret
    try:
        if parsed.host not in allowed:
            guard_address(str(writer.get_extra_info("peername")[0]), allowed)
    finally:
        writer.close()
    return Reached(time.monotonic() - started, "accepts a connection")


def dated(header: str | None, before: float, after: float) -> Span | None:
    """What a Date header tells of their clock; it is cut to whole seconds (RFC 9110, section 6.6.1)."""
    try:
        at = parsedate_to_datetime(header or "")
    except ValueError:
        return None
    return span(at.timestamp(), before, after, resolution_s=1.0)

"""Posts one JSON document for a notifier and tells passing failures from lasting ones.

Never does: retry, follow a redirect, put the address or a header into an error, because either may hold a token.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx
import orjson

from quell import addresses, bodies
from quell.errors import Permanent, Transient
from quell.ports import Connection, Probe
from quell.unreached import retry_after

Address = tuple[str, Connection | None]
_MOST_WORDS = 300
_MOST_READ = 64 * 1024
_BUSY, _TOO_LARGE, _TIMEOUT = 429, 413, 408


async def post(
    probe: Probe, name: str, url: str, document: object, headers: Mapping[str, str], *, secrets: tuple[str, ...] = ()
) -> httpx.Response:
    """The answer, if it is 2xx. ``name`` stands for the receiver in errors; ``secrets`` are hidden in its words.

    Raises ``Transient`` (with ``retry_after`` when named) for 408, 429, 5xx and a broken connection, ``Permanent``
    for every other status.
    """
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    try:
        answer = await bodies.request(
            probe.http, "POST", url, limit=_MOST_READ, content=body,
            headers={"content-type": "application/json", **headers},
        )  # fmt: skip
    except httpx.TimeoutException:
        raise Transient(f"{name}: no answer in time", "timeout") from None
    except httpx.TransportError as error:
        raise Transient(f"{name}: {_transport(error)}", "unreachable") from None
    except (httpx.InvalidURL, httpx.HTTPError, UnicodeError):
        raise Permanent(f"{name}: its address is not a usable URL", "invalid") from None
    if answer.is_success:
        return answer
    words = f"{name}: {answer.status_code} {said(answer, url, *secrets)}".rstrip()
    if answer.status_code in (_BUSY, _TIMEOUT) or answer.is_server_error:
        kind = "exhausted" if answer.status_code == _BUSY else "busy"
        raise Transient(words, kind, retry_after=retry_after(answer.headers.get("retry-after"), probe.now()))
    raise Permanent(words, _CLASSES.get(answer.status_code, "failed"))


_CLASSES = {400: "invalid", 401: "denied", 403: "denied", 404: "missing", 410: "missing", _TOO_LARGE: "too_large"}


def _transport(error: httpx.TransportError) -> str:
    if isinstance(error, httpx.ConnectError):
        return "cannot connect"
    return "the connection broke" if not isinstance(error, httpx.UnsupportedProtocol) else "not an http address"


def said(answer: httpx.Response, url: str, *secrets: str) -> str:
    """The other side's own words, cut short; the address and the secrets are hidden even where it repeats them."""
    text = " ".join(answer.text.split())
    parts = urlsplit(url)
    hidden = (url, f"{parts.path}?{parts.query}" if parts.query else parts.path, parts.query, *secrets)
    for part in hidden:
        if part and part != "/":
            text = text.replace(part, "•••")
    return text if len(text) <= _MOST_WORDS else text[: _MOST_WORDS - 1] + "…"


def connection_of(probe: Probe, named: str | None, target: str, *types: str) -> Connection:
    """The one that the parameter names; else the one that is called like the target; else the only one of its type.

    ``target``: without its prefix. Raises ``Permanent`` (missing, invalid).
    """
    if named or not target:
        return probe.connection(named, *types)
    try:
        return probe.connection(target, *types)
    except Permanent:
        pass
    try:
        return probe.connection(None, *types)
    except Permanent as error:
        raise Permanent(f"no connection {target!r} of type {' or '.join(types)}: {error}", error.error_class) from None


def address(probe: Probe, reference: str | None, connection: str | None, target: str, *types: str) -> Address:
    """The URL to post to: behind a secret reference, else the connection's own. Raises ``Permanent`` (missing)."""
    if reference:
        return probe.secret(reference), None
    found = connection_of(probe, connection, target, *types)
    url = found.url or found.password
    if addresses.flaw(url) or not urlsplit(url).scheme:
        raise Permanent(f"connection {found.name!r} has no URL", "invalid")
    return url, found

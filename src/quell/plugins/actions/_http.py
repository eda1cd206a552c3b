"""Asks an HTTP connection of the configuration for an action.

Never does: try again, follow a redirect, show a secret.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import quote

import httpx

from quell import bodies
from quell.errors import Permanent, Transient
from quell.ports import Connection, Probe

_MOST_WORDS = 200
_MOST_READ = 8_192
_MOST_ANSWER = 1024 * 1024
"""Bytes of an answer; what is longer is cut, and so no document: nothing is taken from it."""
_CLASSES = {
    400: "invalid",
    401: "denied",
    403: "denied",
    404: "missing",
    409: "refused",
    410: "missing",
    422: "invalid",
}


async def ask(
    probe: Probe,
    connection: Connection,
    method: str,
    url: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> httpx.Response:
    """The answer, whatever its status. A password alone goes as a bearer token, with a user name as basic.

    Raises ``Transient``: unreachable when nothing was sent, lost when the answer got lost, timeout.
    """
    given = {**connection.headers, **(headers or {})}
    if body is not None:
        given.setdefault("content-type", "application/json")
    auth = httpx.BasicAuth(connection.username, connection.password) if connection.username else None
    if connection.password and not auth:
        given.setdefault("authorization", f"Bearer {connection.password}")
    try:
        return await bodies.request(probe.http, method, url, limit=_MOST_ANSWER, content=body, headers=given, auth=auth)
    except (httpx.ConnectError, httpx.ConnectTimeout):
        raise Transient(f"{connection.name}: cannot connect", "unreachable") from None
    except httpx.TimeoutException:
        raise Transient(
            f"{connection.name}: no answer in time; the request may have been carried out", "timeout"
        ) from None
    except httpx.TransportError:
        raise Transient(
            f"{connection.name}: the connection broke; the request may have been carried out", "lost"
        ) from None
    except (httpx.InvalidURL, httpx.HTTPError, UnicodeError):
        raise Permanent(f"{connection.name}: its address is not a usable URL", "invalid") from None


def check(connection: Connection, answer: httpx.Response, now: datetime) -> httpx.Response:
    """The answer if it is 2xx. Raises ``Transient`` for 408, 429 and 5xx, ``Permanent`` otherwise, in its words.

    Of the 5xx only 503 says that nothing was done (RFC 9110, section 15.6): a gateway's 502 may hide a success.
    """
    if answer.is_success:
        return answer
    words = hidden(connection, _words(answer.content))
    text = f"{connection.name}: {answer.request.method} {answer.status_code} {words[:_MOST_WORDS]}".rstrip()
    if answer.status_code in (408, 429, 503):
        raise Transient(text, "busy", retry_after=retry_after(answer, now))
    if answer.is_server_error:
        raise Transient(text, "lost", retry_after=retry_after(answer, now))
    raise Permanent(text, _CLASSES.get(answer.status_code, "failed"))


def hidden(connection: Connection, words: str) -> str:
    """Words without the connection's secrets, however they may be repeated: plain, in a URL, as basic credentials.

    Of a header such as ``Bearer …`` also what stands behind the scheme.
    """
    secrets = {connection.password, *connection.headers.values()}
    secrets |= {value.partition(" ")[2] for value in connection.headers.values()}
    if connection.username:
        secrets.add(b64encode(f"{connection.username}:{connection.password}".encode()).decode())
    secrets |= {quote(secret, safe="") for secret in secrets}
    for secret in sorted(secrets - {""}, key=len, reverse=True):  # a short one may be a part of a long one
        words = words.replace(secret, "•••")
    return words


def _words(body: bytes) -> str:
    """The beginning of what it says, without a last word that may be half of a secret and so not be found to hide."""
    words = body[:_MOST_READ].decode("utf-8", "replace").split()
    return " ".join(words[:-1] if len(body) > _MOST_READ else words)


def retry_after(answer: httpx.Response, now: datetime) -> float | None:
    """Seconds of a Retry-After header, a number or a date (RFC 9110, section 10.2.3)."""
    value = answer.headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds())

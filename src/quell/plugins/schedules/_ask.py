"""Asks once over HTTP for a schedule, and tells passing failures from lasting ones.

Never does: retry, follow a redirect, read more than it was allowed, put an address, a header or a secret into an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from quell import bodies
from quell.errors import Permanent, QuellError, Transient
from quell.ports import Connection, Probe
from quell.unreached import retry_after, why

_JSON_BYTES = 2 * 2**20
_MOST_WORDS = 200
_BUSY, _TIMEOUT = 429, 408
_CLASSES = {400: "invalid", 401: "denied", 402: "denied", 403: "denied", 404: "missing", 410: "missing"}


Reason = Callable[[Mapping[str, Any]], str]


@dataclass(frozen=True, slots=True)
class Asker:
    """Who is asked, and how. ``name`` stands for them in errors; ``secrets`` are hidden in their words."""

    probe: Probe
    name: str
    headers: Mapping[str, str]
    secrets: tuple[str, ...] = ()
    auth: httpx.Auth | None = None
    reason: Reason = lambda document: ""
    """Their own words for an error, from the JSON that came with it."""

    @classmethod
    def over(cls, probe: Probe, name: str, there: Connection, token: str, reason: Reason, **headers: str) -> Asker:
        """With the connection's headers and its password, as ``token`` says: ``Bearer {}``; without a password, with an
        Authorization of its own. Raises ``Permanent`` (invalid) where there is neither."""
        headers |= there.headers
        if there.password:
            headers["Authorization"] = token.format(there.password)
        elif not any(key.lower() == "authorization" for key in headers):
            raise Permanent(f"connection {there.name!r} has no token as its password", "invalid")
        return cls(probe, name, headers, (there.password, *there.headers.values()), reason=reason)

    async def body(self, url: str, query: Iterable[tuple[str, str]] = (), *, limit: int = _JSON_BYTES) -> bytes:
        """What was answered with a 2xx. Raises ``Transient`` (with ``retry_after`` when named) or ``Permanent``."""
        params = httpx.QueryParams(list(query)) or None
        try:
            async with self.probe.http.stream(
                "GET", url, params=params, headers=dict(self.headers), auth=self.auth
            ) as answer:
                body, cut = await bodies.read_within(answer, limit)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError) as error:
            raise why(error, self.name) from None
        if not answer.is_success:
            raise self._refusal(answer, body)
        if cut:
            raise Permanent(f"{self.name}: its answer is longer than {limit // 2**20} MiB", "too_large")
        return body

    async def document(self, url: str, query: Iterable[tuple[str, str]] = ()) -> Mapping[str, Any]:
        """The JSON object that was answered. Raises as ``body`` does, and ``Permanent`` (invalid) for anything else."""
        found = _object(await self.body(url, query))
        if found is None:
            raise Permanent(f"{self.name}: its answer is no JSON object", "invalid")
        return found

    def _refusal(self, answer: httpx.Response, body: bytes) -> QuellError:
        words = f"{self.name}: HTTP {answer.status_code} {self.hidden(self.reason(_object(body) or {}))}".rstrip()
        if answer.status_code in (_BUSY, _TIMEOUT) or answer.is_server_error:
            # PagerDuty's own header for it; one of the two is there, or neither.
            said = answer.headers.get("retry-after") or answer.headers.get("ratelimit-reset")
            kind = "exhausted" if answer.status_code == _BUSY else "busy"
            return Transient(words, kind, retry_after=retry_after(said, self.probe.now()))
        if answer.is_redirect:
            return Permanent(f"{words}: it has moved; write the address that it has now", "missing")
        return Permanent(words, _CLASSES.get(answer.status_code, "failed"))

    def hidden(self, text: str) -> str:
        """Their words, cut short and without the secrets, even where they repeat them."""
        for secret in self.secrets:
            if secret:
                text = text.replace(secret, "•••")
        text = " ".join(text.split())
        return text if len(text) <= _MOST_WORDS else text[: _MOST_WORDS - 1] + "…"


def _object(body: bytes) -> Mapping[str, Any] | None:
    try:
        found = orjson.loads(body)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def text_of(value: object) -> str:
    """A JSON value that is text; empty for anything else."""
    return value.strip() if isinstance(value, str) else ""

"""Makes one HTTP call to a connection of the configuration, such as a webhook that starts a remediation.

```yaml
action: {type: http_request, config: {connection: gateway, path: '/hit', body: {uid: '${alert.labels.uid}'}}}
connections: {gateway: {type: http, url: 'http://127.0.0.1:9000', token: env:GATEWAY_TOKEN}}
```

``Idempotency-Key`` is the key of this execution. What a template puts into the path is percent-encoded. It publishes no
facts, because asking again would be another call: ``verify`` tells whether it helped. An answer that got lost, a 5xx
other than 503, a success that was not expected and a redirect that may stand for one leave open whether it was done.
Never does: make the call twice, follow a redirect, send credentials to another host than the connection's, read
anything (GET: that is a check).
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import orjson
from pydantic import BeforeValidator, Field, JsonValue, field_validator

from quell import addresses
from quell.errors import Permanent
from quell.plugins.actions import _http
from quell.ports import Connection, Connects, Effect, Preview, Probe, Risk, Url
from quell.ports import Params as PortParams

RISK = Risk.HIGH  # as of a job: what stands behind an address is not known here, so the worst that is usual is assumed
IDEMPOTENT = False  # the key is sent, but not every system reads it

_MOST_BODY, _MOST_SHOWN, _MOST_ANSWER = 256 * 1024, 500, 8_192
_PATH = re.compile(r"/[^\s\x00-\x1f\x7f#\\]*")
_CLIMB = re.compile(r"/(?:\.|%2e){1,2}(?=[/?]|\Z)", re.IGNORECASE)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CREDENTIALS = frozenset({
    "authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "apikey", "x-auth-token", "private-token",
})  # fmt: skip
_OURS = frozenset({
    "host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect",
    "idempotency-key",
})  # fmt: skip
_NOT_DONE = frozenset({301, 307, 308})
"""Redirects that ask for the same call elsewhere; after the others, such as 303, it was often done here."""


def _statuses(value: Any) -> Any:
    """200, '2xx', or a list of those, as ranges; never what says that nothing was done, or nothing at all."""
    made, wrong = [], []
    for one in value if isinstance(value, list | tuple) else (value,):
        text = "" if isinstance(one, bool) else str(one)
        if re.fullmatch(r"[23]xx", text):
            made.append((int(text[0]) * 100, int(text[0]) * 100 + 99))
        elif re.fullmatch(r"[234]\d\d", text) and text not in ("408", "429"):
            made.append((int(text), int(text)))
        else:
            wrong.append(repr(one))
    if wrong or not made:
        raise ValueError(
            f"not a status that can be expected: {', '.join(wrong) or 'none'}; write 2xx, 3xx or numbers from 200 to "
            "499 without 408 and 429, which say that nothing was done"
        )
    return tuple(made)


class Params(PortParams):
    """One call. The credentials are the connection's."""

    connection: Annotated[str, Connects(("http",))] = Field(min_length=1)
    """The HTTP connection that is asked."""
    method: Literal["POST", "PUT", "PATCH", "DELETE"] = "POST"
    """To read with GET, use the check `http_check`."""
    path: Url = Field(max_length=4000)
    """Behind the connection's address; it begins with `/` and may have a query."""
    body: JsonValue = None
    """Sent as JSON; left out, nothing is sent."""
    headers: dict[str, str] = Field(default_factory=dict, max_length=50)
    """Sent along; credentials are the connection's."""
    expect_status: Annotated[tuple[tuple[int, int], ...], BeforeValidator(_statuses)] = ((200, 299),)
    """What counts as done: a status, `2xx`, `3xx`, or a list of those."""
    service: str | None = None
    """The catalogue's service this is about; by default the incident's."""

    @field_validator("path")
    @classmethod
    def _behind_the_host(cls, path: str) -> str:
        if not _PATH.fullmatch(path):
            raise ValueError("a path begins with / and holds no space, control character, \\ or #")
        if _CLIMB.search(path.partition("?")[0]):
            raise ValueError("a path has no part . or ..")
        return path

    @field_validator("headers")
    @classmethod
    def _no_credentials(cls, headers: dict[str, str]) -> dict[str, str]:
        lower = {name.lower(): value for name, value in headers.items()}
        wrong = [f"{name!r} is no header's name" for name in headers if not _TOKEN.fullmatch(name)]
        wrong += [f"{name} is the connection's: write it there" for name in lower if name in _CREDENTIALS]
        wrong += [f"{name} is not a choice" for name in lower if name in _OURS]
        # The value is not repeated: it may be a secret that was put in the wrong place.
        wrong += [f"{name} has a value that no header can have" for name, value in lower.items() if not _fits(value)]
        if len(lower) < len(headers):
            wrong.append("a header is there twice")
        if wrong:
            raise ValueError("; ".join(wrong))
        return lower

    @field_validator("body")
    @classmethod
    def _not_too_large(cls, body: JsonValue) -> JsonValue:
        if body is not None and len(_json(body)) > _MOST_BODY:
            raise ValueError(f"the body has more than {_MOST_BODY} bytes")
        return body


def _fits(value: str) -> bool:
    return value.isascii() and (value.isprintable() or not value)


def _json(body: JsonValue) -> bytes:
    try:
        return orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        raise ValueError("the body cannot be written as JSON") from None


def _connection(params: Params, probe: Probe) -> Connection:
    """Raises ``Permanent``: missing, or invalid when the two do not go together."""
    connection = probe.connection(params.connection, "http")
    if addresses.flaw(connection.url) or not connection.url.lower().startswith(("http://", "https://")):
        raise Permanent(f"connection {connection.name!r} has no usable URL", "invalid")
    if "?" in connection.url or "#" in connection.url:
        raise Permanent(f"the URL of connection {connection.name!r} has a query, so no path can follow it", "invalid")
    both = sorted({name.lower() for name in connection.headers} & set(params.headers))
    if both:
        raise Permanent(f"connection {connection.name!r} has its own {', '.join(both)}", "invalid")
    return connection


async def dry_run(params: Params, probe: Probe) -> Preview:
    """Asks nobody: what the call would do is the other side's business."""
    connection = _connection(params, probe)
    url = addresses.shown(connection.url).rstrip("/") + params.path
    sent = f" with {_json(params.body).decode()}" if params.body is not None else ""
    call = _http.hidden(connection, f"{params.method} {url}{sent}")
    shown = call if len(call) <= _MOST_SHOWN else call[: _MOST_SHOWN - 1] + "…"
    target = params.service or _http.hidden(connection, f"{connection.name}{params.path.partition('?')[0]}")
    return Preview(call=shown, targets=(target,), after="as the other side does it")


async def execute(params: Params, probe: Probe) -> Effect:
    """The status and the answer. Raises ``Transient`` or ``Permanent`` in the other side's words, without secrets."""
    connection = _connection(params, probe)
    url = connection.url.rstrip("/") + params.path
    body = None if params.body is None else _json(params.body)
    headers = {**params.headers, "idempotency-key": probe.key}
    answer = await _http.ask(probe, connection, params.method, url, body, headers)
    status = answer.status_code
    if not any(low <= status <= high for low, high in params.expect_status):
        if answer.is_redirect and status in _NOT_DONE:
            raise Permanent(f"{connection.name}: {params.method} {status}: a redirect, which is not followed", "failed")
        if 300 <= status < 400:
            raise Permanent(
                f"{connection.name}: {params.method} {status}: a redirect, which is not followed; maybe it was done",
                "lost",
            )
        _http.check(connection, answer, probe.now())
        raise Permanent(f"{connection.name}: {params.method} {status} was not expected; it may have been done", "lost")
    path = _http.hidden(connection, params.path.partition("?")[0])
    return Effect(
        summary=f"{params.method} {path} on {connection.name}: {status}",
        output={"status": status, "answer": _answer(connection, answer.content)},
    )


def _answer(connection: Connection, content: bytes) -> Any:
    """What it said: JSON as it is, else its words; cut when it is long, and never with the connection's secrets."""
    if not content:
        return None
    try:
        said = _without(connection, orjson.loads(content))
        text = orjson.dumps(said)
    except (orjson.JSONDecodeError, RecursionError, orjson.JSONEncodeError):
        said = _http.hidden(connection, content.decode("utf-8", "replace"))
        text = said.encode()
    return said if len(text) <= _MOST_ANSWER else text[:_MOST_ANSWER].decode("utf-8", "ignore") + "…"


def _without(connection: Connection, said: Any) -> Any:
    if isinstance(said, str):
        return _http.hidden(connection, said)
    if isinstance(said, dict):
        return {_http.hidden(connection, key): _without(connection, value) for key, value in said.items()}
    if isinstance(said, list):
        return [_without(connection, value) for value in said]
    return "•••" if not isinstance(said, bool) and str(said) == connection.password else said

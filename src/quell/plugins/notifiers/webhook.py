"""Posts the message as JSON to any address, signed if a secret is shared.

```yaml
escalation: {primary: 'webhook:ops'}   # in a runbook
---
connections: {ops: {type: webhook, url: 'https://ops.example.org/hooks/quell', password: env:OPS_HOOK_KEY}}
```

The signature is HMAC-SHA256 over ``<timestamp>.<body>``, in ``X-Quell-Signature: t=<unix seconds>,v1=<hex>``;
a receiver refuses an old timestamp, so a recorded request is worth nothing later. ``Idempotency-Key`` is the same
when the same message is sent again. What is to be answered stands under ``asked``, a field each (null otherwise).
Never does: follow a redirect, show the address, the secret or its headers.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import asdict

import orjson
from pydantic import AliasChoices, Field

from quell.plugins.notifiers import _post
from quell.ports import Message, Probe
from quell.ports import Params as PortParams

PREFIXES = ("webhook:",)
CONNECTIONS = ("webhook", "http")
SIGNATURE = "X-Quell-Signature"
SCHEMA_VERSION = 1


class Params(PortParams):
    """``url`` and ``secret`` are references (``env:NAME``, ``file:PATH``), for use without a connection."""

    target: str = ""
    """As the runbook wrote it."""
    connection: str | None = None
    """The connection with the address; by default the one named behind the prefix, else the only one."""
    url: str | None = None
    secret: str | None = Field(default=None, validation_alias=AliasChoices("secret", "signing_secret", "signingSecret"))


async def send(message: Message, params: Params, probe: Probe) -> str:
    """The status and the first words of the answer. Raises ``Transient`` or ``Permanent``."""
    name = params.target.removeprefix("webhook:")
    url, connection = _post.address(probe, params.url, params.connection, name, *CONNECTIONS)
    secret = probe.secret(params.secret) if params.secret else (connection.password if connection else "")
    body = orjson.dumps({"schema_version": SCHEMA_VERSION, **asdict(message)}, default=str)
    headers = dict(connection.headers) if connection else {}
    if probe.key:
        headers["Idempotency-Key"] = probe.key
    if secret:
        headers[SIGNATURE] = signature(body, secret, int(probe.now().timestamp()))
    hidden = (secret, *headers.values())
    answer = await _post.post(probe, "webhook", url, body, headers, secrets=hidden)
    return f"{answer.status_code} {_post.said(answer, url, *hidden)[:200]}".rstrip()


def signature(body: bytes, secret: str, at: int) -> str:
    """The header's value for this body at this moment (Unix seconds)."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"

"""Pages through PagerDuty's Events API v2: trigger, acknowledge, resolve.

```yaml
escalation: {primary: 'pagerduty:payments'}   # in a runbook
---
connections: {payments: {type: pagerduty, password: env:PAGERDUTY_ROUTING_KEY}}
```

The integration's routing key is the connection's password; its ``url`` is only needed for another address than
PagerDuty's own. One incident is one ``dedup_key``, so paging twice is one page
(developer.pagerduty.com/docs/send-alert-event). Never does: show the routing key.
"""

from __future__ import annotations

from typing import Any

from pydantic import AliasChoices, Field

from quell.errors import Permanent
from quell.plugins.notifiers import _post
from quell.ports import Message, Probe
from quell.ports import Params as PortParams

PREFIXES = ("pagerduty:",)
CONNECTIONS = ("pagerduty",)
ENQUEUE = "https://events.pagerduty.com/v2/enqueue"
_SUMMARY, _DEDUP, _LINE, _LINES, _TEXT = 1024, 255, 500, 50, 4000
_SEVERITY = {"P1": "critical", "P2": "error", "P3": "warning", "P4": "info"}


class Params(PortParams):
    """``target``: as the runbook wrote it. ``routing_key``: a secret reference, if not the connection's password."""

    target: str = ""
    connection: str | None = None
    """The connection with the routing key; by default the one named behind the prefix, else the only one."""
    routing_key: str | None = Field(default=None, validation_alias=AliasChoices("routing_key", "routingKey"))
    url: str = ENQUEUE
    """The address of the Events API."""


async def send(message: Message, params: Params, probe: Probe) -> str:
    """PagerDuty's words with the ``dedup_key``. Raises ``Transient`` or ``Permanent`` with PagerDuty's reasons."""
    url, key = _where(params, probe)
    document = event(message, key)
    answer = await _post.post(probe, "pagerduty", url, document, {}, secrets=(key,))
    return f"{document['event_action']} {document['dedup_key']}: {_post.said(answer, url, key)[:200]}"


def _where(params: Params, probe: Probe) -> tuple[str, str]:
    if params.routing_key:
        return params.url, probe.secret(params.routing_key)
    found = _post.connection_of(probe, params.connection, params.target.removeprefix("pagerduty:"), *CONNECTIONS)
    if not found.password:
        raise Permanent(f"connection {found.name!r} has no routing key as its password", "invalid")
    return found.url or params.url, found.password


def event(message: Message, routing_key: str) -> dict[str, Any]:
    """The event as the API takes it."""
    action = _action(message)
    base: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": action,
        "dedup_key": (message.dedup_key or message.incident)[:_DEDUP],
    }
    if action != "trigger":
        return base
    links = [{"href": message.url, "text": "Open incident"}] if message.url else []
    return {
        **base,
        "client": "Quell",
        **({"client_url": message.url} if message.url else {}),
        "links": links,
        "payload": {
            "summary": _cut(f"{message.severity} {message.title}: {message.text}".strip(" :"), _SUMMARY),
            "source": message.service or "unknown service",
            "severity": _SEVERITY.get(message.severity, "critical"),
            "component": message.service or None,
            "custom_details": _details(message),
        },
    }


def _action(message: Message) -> str:
    if message.kind == "resolved":
        return "resolve"
    return "acknowledge" if message.status == "acknowledged" and message.kind == "update" else "trigger"


def _details(message: Message) -> dict[str, Any]:
    details: dict[str, Any] = {
        "incident": message.incident,
        "status": message.status,
        "text": _cut(message.text, _TEXT),
    }
    for title, lines in message.asked.rows if message.asked else ():
        details[title] = _cut("\n".join(lines), _TEXT)
    if message.findings:
        details["diagnostics"] = [_finding(finding) for finding in message.findings[:_LINES]]
    for title, lines in message.sections:
        details[title] = [_cut(line, _LINE) for line in lines[:_LINES]]
    return details


def _finding(finding: Any) -> str:
    name = finding.get("name") or finding.get("check") or "check"
    return _cut(f"{finding.get('status', 'unknown')}: {name} {finding.get('message') or ''}".strip(), _LINE)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"

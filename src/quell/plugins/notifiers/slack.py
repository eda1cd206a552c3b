"""Posts to Slack through an incoming webhook, as Block Kit with a plain text beside it.

```yaml
escalation: {primary: '#incidents-payment', secondary: 'slack:sre'}   # in a runbook
---
connections: {sre: {type: slack, url: env:SLACK_WEBHOOK_URL}}
```

A target ``#name`` is a channel (an app's webhook is bound to one channel and ignores it). It, and ``slack:name``, go
through the connection of that name, else through the only one of type ``slack``. Lengths are cut to Slack's limits
(docs.slack.dev/reference/block-kit/blocks). Never does: let alert text mention people or channels, put the webhook's
address into an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import AliasChoices, Field

from quell.plugins.notifiers import _post
from quell.ports import Message, Probe
from quell.ports import Params as PortParams

PREFIXES = ("#", "slack:")
CONNECTIONS = ("slack",)
_HEADER, _FIELD, _SECTION, _TEXT, _URL, _BLOCKS = 150, 2000, 3000, 4000, 3000, 50
_MOST_LINES = 40
_SEVERITY = {"P1": "🔴", "P2": "🟠", "P3": "🟡", "P4": "🔵"}
_KIND = {"resolved": "✅", "approval": "✋", "update": "ℹ️"}
_HEALTH = {"healthy": "✅", "warning": "⚠️", "critical": "🔴"}
_UNKNOWN = "⚪"
_ASKS = {"approval": "Approve this?", "step": "To do by hand", "happened": "Did this happen?"}
_BUTTON = {"approval": "Decide", "resolved": "Open report"}


class Params(PortParams):
    """``target``: as the runbook wrote it. ``url``: a reference to the secret webhook address."""

    target: str = Field(default="", validation_alias=AliasChoices("target", "channel"))
    connection: str | None = None
    """The connection with the webhook's address; by default the one named behind the prefix, else the only one."""
    url: str | None = None


async def send(message: Message, params: Params, probe: Probe) -> str:
    """What Slack said (``ok``). Raises ``Transient`` or ``Permanent`` with Slack's own word, such as ``no_service``."""
    name = params.target.removeprefix("slack:").removeprefix("#")
    url, _ = _post.address(probe, params.url, params.connection, name, *CONNECTIONS)
    document: dict[str, Any] = {"text": fallback(message), "blocks": blocks(message)}
    if params.target.startswith("#"):
        document["channel"] = params.target
    answer = await _post.post(probe, "slack", url, document, {})
    return _post.said(answer, url)[:100] or str(answer.status_code)


def fallback(message: Message) -> str:
    """What a notification shows, and all that a client without blocks shows."""
    parts = [f"{_emoji(message)} *{escape(message.title)}*", escape(message.text)]
    return _cut(" — ".join(part for part in parts if part), _TEXT)


def blocks(message: Message) -> list[dict[str, Any]]:
    """Header, fields, what is asked or the text, findings, sections, button."""
    found: list[dict[str, Any]] = [
        {"type": "header", "text": _plain(f"{_emoji(message)} {' '.join(message.title.split())}", _HEADER)},
        {"type": "section", "fields": _fields(message)},
    ]
    if message.asked:
        found.append(_section(f"*{_ASKS.get(message.asked.asks, 'To answer')}*"))
        found += [_row(title, lines) for title, lines in message.asked.rows]
    elif message.text:
        found.append(_section(escape(message.text)))
    if message.findings:
        found.append(_section(_listed("Diagnostics", map(_finding, message.findings))))
    for title, lines in message.sections:
        found.append(_section(_listed(title, (f"• {escape(line)}" for line in lines))))
    tail: list[dict[str, Any]] = []
    if message.url.startswith(("https://", "http://")) and len(message.url) <= _URL:
        button = {"type": "button", "text": _plain(_BUTTON.get(message.kind, "Open incident"), 75), "url": message.url}
        tail.append({"type": "actions", "elements": [button]})
    tail.append({"type": "context", "elements": [{"type": "mrkdwn", "text": f"Incident {escape(message.incident)}"}]})
    return [*found[: _BLOCKS - len(tail)], *tail]


def escape(text: str) -> str:
    """Slack's three control characters (docs.slack.dev/messaging/formatting-message-text): no mention gets through."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _emoji(message: Message) -> str:
    return _KIND.get(message.kind) or _SEVERITY.get(message.severity, "🚨")


def _fields(message: Message) -> list[dict[str, Any]]:
    pairs = (("Severity", message.severity), ("Service", message.service), ("Status", message.status))
    return [
        {"type": "mrkdwn", "text": _cut(f"*{title}:*\n{escape(value) or 'unknown'}", _FIELD)} for title, value in pairs
    ]


def _finding(finding: Mapping[str, Any]) -> str:
    status = str(finding.get("status", ""))
    name = str(finding.get("name") or finding.get("check") or "check")
    words = str(finding.get("message") or "")
    line = f"{_HEALTH.get(status, _UNKNOWN)} {escape(name)}: {escape(status.replace('_', ' ') or 'unknown')}"
    return f"{line} — {escape(words)}" if words else line


def _row(title: str, lines: tuple[str, ...]) -> dict[str, Any]:
    """One line of what is asked. A call stands as it would be typed, in a block that nothing in it can end."""
    if title == "Call":
        call = _cut(escape(lines[0].replace("```", "'''")), _SECTION - 20)
        return _section(f"*Call:*\n```{call}```")
    if len(lines) == 1:
        return _section(f"*{title}:* {escape(lines[0])}")
    return _section(_listed(title, (f"• {escape(line)}" for line in lines)))


def _listed(title: str, lines: Iterable[str]) -> str:
    """A title and as many whole lines as Slack takes; says how many are left out."""
    every = [_cut(line, 400) for line in lines]
    head, size, kept = f"*{escape(title)}:*", len(title) + 4, []
    for line in every[:_MOST_LINES]:
        if size + len(line) + 1 > _SECTION - 20:
            break
        kept.append(line)
        size += len(line) + 1
    left = len(every) - len(kept)
    return "\n".join([head, *kept, *([f"… and {left} more"] if left else [])])


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": _cut(text, _SECTION)}}


def _plain(text: str, most: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": _cut(text, most), "emoji": True}


def _cut(text: str, most: int) -> str:
    """Not in the middle of an escaped character, which would show as rubbish."""
    if len(text) <= most:
        return text
    kept = text[: most - 1]
    start = kept.rfind("&", len(kept) - 5)
    if start >= 0 and ";" not in kept[start:]:
        kept = kept[:start]
    return kept + "…"

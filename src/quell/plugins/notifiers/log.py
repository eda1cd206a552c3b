"""Writes the message to the structured log: where an escalation goes when nothing else is configured or answers.

```yaml
escalation: {primary: 'log:oncall'}
```

Never does: fail, wait for a network, write more than a bounded line.
"""

from __future__ import annotations

import importlib

from quell.ports import Message, Probe
from quell.ports import Params as PortParams

PREFIXES = ("log:", "console:")
_TEXT, _LINES = 2000, 50


class Params(PortParams):
    """``target``: as the runbook wrote it."""

    target: str = ""


async def send(message: Message, params: Params, probe: Probe) -> str:
    """One event, at level error for a page, so that it stands out. Always succeeds."""
    # Loaded when something is written: a lint looks at every notifier, and this library takes its time.
    log = importlib.import_module("structlog").get_logger("quell.notify")
    write = log.error if message.kind == "page" else log.warning if message.kind == "approval" else log.info
    write(
        "notification",
        kind=message.kind,
        to=params.target,
        incident=message.incident,
        title=message.title,
        text=message.text[:_TEXT],
        severity=message.severity,
        service=message.service,
        status=message.status,
        url=message.url,
        asked={title: "\n".join(lines)[:_TEXT] for title, lines in message.asked.rows} if message.asked else {},
        findings=[f"{finding.get('check')}: {finding.get('status')}" for finding in message.findings[:_LINES]],
        sections={title: list(lines[:_LINES]) for title, lines in message.sections},
    )
    return "written to the log"

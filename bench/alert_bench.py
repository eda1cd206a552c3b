"""Quell as a peer of an alert bench: the same load for any receiver of alerts, next to a bare protocol server.

To be put beside the bench's other peers as ``quell.py``; ``QUELL_REPO`` is a checkout whose ``make test`` has run.
Never does: measure.
"""

from __future__ import annotations

import json
import os
import pathlib
import sys
from typing import Any
from urllib.parse import quote

from .base import Peer  # type: ignore[import-not-found]

REPO = pathlib.Path(os.environ.get("QUELL_REPO", pathlib.Path.cwd()))
CONFIGURATION = """
database: {database}
server: {{port: {port}, insecure: true}}
runbooks: [{book}]
connections: {{sink: {{type: http, url: '{sink}'}}}}
network: {{allow: [127.0.0.1]}}
services: {{{services}}}
audit: {{every: 0}}
guardrails: {{breaker: {{enabled: false}}}}
correlation: {{by: [{by}], reopen: 0}}
"""
RUNBOOK = """
id: bench
name: Bench
severity: P3
triggers: [{type: alert, labels: {bench: act}}]
diagnostics: []
decision_tree: [{condition: 'true', then: [hit]}]
remediations:
- id: hit
  type: automated
  action: {type: http_request, config: {connection: sink, path: /hit, body: {uid: '${alert.labels.uid}'}}}
verify: {signals: [trigger], on_cannot_tell: page}
escalation: {primary: 'log:'}
"""


class Adapter(Peer):  # type: ignore[misc]
    name, port, path = "quell", 28470, "/webhooks/alertmanager"
    ready_timeout = 30
    durable = "before the 2xx (SQLite WAL, synchronous=FULL, group commit)"
    action_note = "runbook: http_request through the whole act frame"
    poll_s = 0.1

    async def start(self, mode: str = "ingest") -> None:
        folder = pathlib.Path(self.state)
        (folder / "book").mkdir(parents=True, exist_ok=True)
        if mode == "act":
            (folder / "book" / "bench.yaml").write_text(RUNBOOK)
        by = {"group": "service", "act": "uid"}.get(mode, "service, runbook")
        services = ", ".join(f"svc-{number}: {{}}" for number in range(10)) if mode != "ingest" else ""
        (folder / "quell.yaml").write_text(
            CONFIGURATION.format(
                database=os.environ.get("QUELL_DATABASE") or folder / "quell.db", port=self.port, book=folder / "book",
                sink=self.sink, by=by, services=services,
            )
        )  # fmt: skip
        self.spawn([REPO / ".venv/bin/python", "-m", "quell.cli.main", "serve", "--config", folder / "quell.yaml"])

    def encode(self, alerts: list[dict[str, Any]]) -> bytes:
        from alerts import am_webhook  # type: ignore[import-not-found]

        return json.dumps(am_webhook(alerts)).encode()

    async def visible(self, run: str) -> int | None:
        status, told = await self.get(f"/api/v1/alerts?name=Bench{run}&limit=1&total=true")
        return told["total"] if status == 200 else None

    async def ids(self, run: str) -> set[str]:
        found: set[str] = set()
        before = ""
        while True:
            _, told = await self.get(f"/api/v1/alerts?name=Bench{run}&limit=500{before}")
            rows = told["alerts"]
            found |= {row["alert"]["labels"]["uid"] for row in rows}
            if told["next"] is None:
                return found
            before = f"&before={quote(told['next'])}"

    async def groups(self, run: str) -> dict[str, Any]:
        _, told = await self.get(f"/api/v1/alerts?name=Bench{run}&limit=500")
        incidents = {row["incident"] for row in told["alerts"] if row["incident"]}
        return {"alerts": len(told["alerts"]), "incidents": len(incidents)}

    def version(self) -> str:
        return sys.version.split()[0]

"""The configuration that makes Quell look after the demo's world: catalogue, connections, variables, guardrails.

Never does: start anything.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from quell.demo.world.world import World
from quell.settings import Settings, parse_settings

RUNBOOKS = Path(__file__).parent / "runbooks"


def configuration(world: World, folder: Path, port: int) -> dict[str, Any]:
    """What a person would write into ``quell.yaml`` for this world."""
    layout = world.layout
    supervisor = {"type": "supervisord", "url": world.supervisor_url, "username": world.user,
                  "password": f"file:{folder / 'supervisor.password'}"}  # fmt: skip
    health = {name: f"{url}/health" for name, url in world.replica_urls.items()}
    return {
        "database": str(folder / "quell.db"),
        "environment": "demo",
        "scrape_interval": "0.5s",
        "escalation": "log:payments",
        "server": {"port": port, "base_url": f"http://127.0.0.1:{port}", "insecure": True},
        "runbooks": [str(RUNBOOKS)],
        "variables": {"payment_log": str(layout.payment_log), "bank_url": world.bank_url,
                      "config_file": str(layout.config), "flags_file": str(layout.flags)},
        "services": {
            "payment": {
                "owner": "payments", "tier": 0, "depends_on": ["bank", "ledger"],
                "drivers": [{**supervisor, "group": "payment", "health": health},
                            {"type": "releases", "path": str(layout.releases), "current": str(layout.current)}],
            },
            "nightly-report": {"owner": "finance", "drivers": [{**supervisor, "programs": ["nightly-report"]}]},
        },
        "connections": {
            "prometheus": {"type": "prometheus", "url": world.prometheus_url},
            "ledger": {"type": "sqlite", "url": f"sqlite:///{layout.ledger}"},
        },
        # Each fault is an incident of its own, however soon it comes after the last.
        "correlation": {"reopen": 0, "flapping": {"changes": 0}},
        # The same service is broken and repaired six times within minutes here; outside, two restarts are plenty, and
        # from the third repair of a day on somebody is asked.
        "guardrails": {
            "actions": {"restart_service": {"rate": "6/10m"}},
            "breaker": {"after": 20},
            # The report is another team's; who looks after payments may restart it.
            "ownership": {"also": {"payments": ["nightly-report"]}},
        },
    }  # fmt: skip


def settings_for(world: World, folder: Path, port: int) -> Settings:
    """The same through the parser that reads everybody's file."""
    secret = folder / "supervisor.password"
    secret.touch(0o600)
    secret.write_text(world.password)
    return parse_settings(json.dumps(configuration(world, folder, port)), "quell.yaml", folder)

"""A configuration of a test's own, examined as ``quell doctor`` does. Never pretends: what it names is real."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from quell.doctor.examine import examine
from quell.doctor.judgement import Judgement, Report
from quell.doctor.site import site_of
from quell.settings import parse_settings
from tests.servers.postgres import Postgres


def report(folder: Path, *, notify: bool = False, timeout_s: float = 5.0, **written: Any) -> Report:
    """What is said of ``quell.yaml`` with these keys, in ``folder``; its database is a file there unless it says."""
    settings = parse_settings(
        json.dumps({"database": str(folder / "quell.db"), **written}), str(folder / "quell.yaml"), folder
    )

    async def run() -> Report:
        site = site_of(settings, timeout_s=timeout_s)
        try:
            return await examine(site, notify=notify)
        finally:
            await site.world.close()

    return asyncio.run(run())


def said(told: Report, check: str, about: str = "") -> list[tuple[str, str]]:
    """(level, what was found) of the judgements of one check about something."""
    return [(str(one.level), one.found) for one in of(told, check, about)]


def of(told: Report, check: str, about: str = "") -> list[Judgement]:
    return [one for one in told.judgements if one.check == check and about in one.looked_at]


def least_role(server: Postgres, database: str, name: str) -> str:
    """A role that may log in and read; its address."""
    server.execute(f"CREATE ROLE {name} LOGIN")
    server.execute(f"REVOKE ALL ON DATABASE {database} FROM PUBLIC")
    server.execute(f"GRANT CONNECT ON DATABASE {database} TO {name}")
    server.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC", database=database)
    return server.url(database, name)


def book(name: str, **more: Any) -> dict[str, Any]:
    """A runbook without problems that pages."""
    return {
        "id": name, "service": "shop", "triggers": [{"type": "alert", "alert_name": f"{name}-fires"}],
        "diagnostics": [{
            "id": "up", "type": "shell_command", "config": {"command": ["true"]},
            "interpret": {"healthy": "exit_code == 0", "critical": "exit_code != 0"},
        }],
        "decision_tree": [{"condition": "up.critical", "then": ["page"]}],
        "remediations": [{"id": "page", "type": "escalate"}],
        "verify": {"signals": ["up"], "stable_for": "30s", "within": "5m"},
        "escalation": {"primary": "log:oncall"}, **more,
    }  # fmt: skip


def shelve(folder: Path, *books: dict[str, Any]) -> str:
    """The folder of runbooks with these in it."""
    shelf = folder / "runbooks"
    shelf.mkdir(exist_ok=True)
    for one in books:
        (shelf / f"{one['id']}.json").write_text(json.dumps(one))
    return str(shelf)

"""``quell workers``: the processes that share the work. Never does: load what they need, or change one."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from quell.cli.client import AsJson, Client, Server
from quell.cli.output import counted, paint, print_json, print_table
from quell.cli.page import ago
from quell.telling.lines import clean


def workers(
    everyone: Annotated[bool, typer.Option("--all", help="Also those that ended in the last 24 hours.")] = False,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """The processes that share the work: who is alive, by which version and configuration, with which incidents.

    \b
    quell workers
    quell workers --all --json
    """
    with Client(server) as client:
        told = client.get("/api/v1/workers")
    found = [one for one in told["workers"] if everyone or one["state"] != "ended"]
    if as_json:
        print_json({**told, "workers": found})
        return
    now = datetime.now(UTC)
    columns = ("worker", "kind", "state", "lease", "version", "configuration", "started", "incidents")
    print_table(columns, [_row(one, now) for one in found])
    if told["differ"]:
        said = "They do not all act by the same configuration: guards, services and connections may differ."
        print(paint(said, "yellow", stream=sys.stdout))


def _row(one: dict[str, Any], now: datetime) -> tuple[object, ...]:
    incidents = one["incidents"]
    shown = f"{counted(len(incidents), 'incident')}: " if len(incidents) > 3 else ""
    shown += ", ".join(incidents[:3]) + ("…" if len(incidents) > 3 else "")
    return (
        clean(one["id"]), one["kind"], one["state"], f"{one['lease_s']:.0f} s" if one["state"] != "ended" else "",
        one["version"], one["configuration"], ago(datetime.fromisoformat(one["started_at"]), now), shown,
    )  # fmt: skip

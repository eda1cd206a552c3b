"""``quell sources``: what comes of each source, and which one is late. Never does: judge that."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

from quell.cli.client import AsJson, Client, Server
from quell.cli.output import counted, paint, print_json, print_table
from quell.cli.page import ago
from quell.telling.lines import clean

COLUMNS = ("source", "type", "tenant", "state", "last heard", "expected", "deliveries", "alerts", "refused")


def sources(server: Server = None, as_json: AsJson = False) -> None:
    """The sources of alerts and heartbeats: when each was last heard, how often it is expected, and how much came.

    \b
    quell sources
    quell sources --json

    A source is late when it has not been heard for as long as its `expect` says; then its alert fires.
    """
    with Client(server) as client:
        told = client.get("/api/v1/sources")
    if as_json:
        print_json(told)
        return
    if not told["sources"]:
        print("No source is configured, and nothing has come.")
        return
    now = datetime.now(UTC)
    print_table(COLUMNS, [_row(one, now) for one in told["sources"]])
    if late := [clean(one["name"]) for one in told["sources"] if one["state"] == "late"]:
        said = f"{counted(len(late), 'source')} late: {', '.join(late)}; quell alerts list --status firing"
        print(paint(said, "yellow", stream=sys.stdout))


def _row(one: dict[str, Any], now: datetime) -> tuple[object, ...]:
    heard = one["heard_at"]
    return (
        clean(one["name"]), one["type"], clean(one["tenant"]), one["state"] or "-",
        ago(datetime.fromisoformat(heard), now) if heard else "never", one["expected"] or "-",
        one["deliveries"], one["alerts"], one["refused"],
    )  # fmt: skip

"""``quell alerts``: what came in, what became of it, what could not be read. Never does: change anything."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from quell.cli.client import AsJson, Client, Server
from quell.cli.group import new_app
from quell.cli.output import print_json, print_table
from quell.cli.page import ago
from quell.telling.lines import clean

alerts = new_app(no_args_is_help=True)

Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=500, help="At most so many, newest first.")]
LONGEST = 80


@alerts.callback()
def _group() -> None:
    """Alerts that a running server received.

    \b
    quell alerts list
    quell alerts quarantine
    """


@alerts.command("list")
def list_(limit: Limit = 20, server: Server = None, as_json: AsJson = False) -> None:
    """The newest alerts and what became of each.

    \b
    quell alerts list
    """
    with Client(server) as client:
        answer = client.get("/api/v1/alerts", limit=limit)
    if as_json:
        print_json(answer)
    elif not answer["alerts"]:
        print("No alerts yet.")
    else:
        now = datetime.now(UTC)
        print_table(
            ("last", "times", "alert", "status", "service", "incident"), [_row(one, now) for one in answer["alerts"]]
        )


def _row(one: dict[str, Any], now: datetime) -> tuple[object, ...]:
    alert = one.get("alert") or {}
    last = ago(datetime.fromisoformat(one["last_at"]), now)
    service = one.get("service") or alert.get("service") or "-"
    return (
        last, one.get("count", 1), clean(alert.get("name", "")), alert.get("status", ""), clean(service),
        one.get("incident") or "-",
    )  # fmt: skip


@alerts.command()
def quarantine(limit: Limit = 20, server: Server = None, as_json: AsJson = False) -> None:
    """What could not be read, and why.

    \b
    quell alerts quarantine
    """
    with Client(server) as client:
        answer = client.get("/api/v1/quarantine", limit=limit)
    if as_json:
        print_json(answer)
    elif not answer["quarantined"]:
        print("Nothing is in quarantine.")
    else:
        now = datetime.now(UTC)
        print_table(
            ("received", "source", "reason", "fragment"),
            [(ago(datetime.fromisoformat(one["received_at"]), now), one["source"], clean(one["reason"]),
              clean(one.get("fragment") or "")[:LONGEST]) for one in answer["quarantined"]],
        )  # fmt: skip

"""``quell alerts``: what came in, what became of it, one of them, what could not be read. Never does: change one."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from quell.cli.client import AsJson, Client, Server, name_of
from quell.cli.follower import terminal_width, written
from quell.cli.group import new_app
from quell.cli.output import print_json, print_table
from quell.cli.page import ago
from quell.incident.alert import AlertStatus
from quell.telling.lines import Row, clean

alerts = new_app(invoke_without_command=True)

Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=500, help="At most so many, newest first.")]
LONGEST, BEGINNING = 80, 12


@alerts.callback()
def _group(ctx: typer.Context, server: Server = None, as_json: AsJson = False) -> None:
    """Alerts that a running server received. Alone it lists them.

    \b
    quell alerts list --status firing
    quell alerts show 9f2c41d0
    quell alerts quarantine
    """
    if ctx.invoked_subcommand is None:
        list_(server=server, as_json=as_json)
    elif server or as_json:
        raise typer.BadParameter(f"write options behind the command: quell alerts {ctx.invoked_subcommand} --json")


@alerts.command("list")
def list_(
    status: Annotated[AlertStatus | None, typer.Option("--status", help="Only those in this status.")] = None,
    limit: Limit = 20,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """The newest alerts and what became of each.

    \b
    quell alerts list
    quell alerts list --status firing --limit 500
    """
    with Client(server) as client:
        answer = client.get("/api/v1/alerts", limit=limit, status=status.value if status else None)
    if as_json:
        print_json(answer)
    elif not answer["alerts"]:
        print(f"No alert is {status.value}." if status else "No alerts yet.")
    else:
        now = datetime.now(UTC)
        columns = ("last", "times", "alert", "status", "service", "fingerprint", "incident")
        print_table(columns, [_row(one, now) for one in answer["alerts"]])


@alerts.command()
def show(
    alert: Annotated[
        str, typer.Argument(metavar="ALERT", help="Its id, its fingerprint or the beginning of one, or its name.")
    ],
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """One alert: its last word, and what became of it. Why that, quell why tells.

    \b
    quell alerts show HighErrorRate
    quell alerts show 9f2c41d0 --json
    """
    with Client(server) as client:
        answer = client.get(f"/api/v1/alerts/{name_of(alert)}")
    if as_json:
        print_json(answer)
        return
    for label, text in _facts(answer, datetime.now(UTC)):
        if text:
            sys.stdout.write(written(Row(str(text), label), sys.stdout, width=terminal_width(sys.stdout), time=False))
    print(f"\nquell why {shlex.quote(answer['fingerprint'])}")


def _facts(one: dict[str, Any], now: datetime) -> Iterator[tuple[str, object]]:
    said, held = one["alert"], one["held"]
    yield from (("name", one["name"]), ("summary", said["annotations"].get("summary")))
    yield "status", one["status"] + (f", held: {held}" if held else "")
    yield "reason", one["reason"]
    yield from ((name, one[name]) for name in ("service", "severity", "incident"))
    last = ago(datetime.fromisoformat(one["last_at"]), now)
    yield "last", f"{one['last_at']}, {last}" + (f", {one['count']} times" if one["count"] > 1 else "")
    yield "first", one["first_at"]
    yield "labels", ", ".join(f"{name}={value}" for name, value in sorted(said["labels"].items()))
    yield from ((name, one[name]) for name in ("source", "fingerprint", "id"))
    yield "url", said.get("url")


def _row(one: dict[str, Any], now: datetime) -> tuple[object, ...]:
    alert = one.get("alert") or {}
    status = one["status"] + (" (held)" if one.get("held") else "")
    last = ago(datetime.fromisoformat(one["last_at"]), now)
    service = one.get("service") or alert.get("service") or "-"
    return (
        last, one.get("count", 1), clean(alert.get("name", "")), status, clean(service),
        clean(one["fingerprint"][:BEGINNING]),
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

"""``quell silence``, ``silences`` and ``unsilence``: which alerts stay quiet, until when, and why.

Never does: match an alert, hold one.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from quell.cli.client import AsJson, By, Client, Server, name_of
from quell.cli.output import counted, print_json, print_table
from quell.telling.lines import clean

COLUMNS = ("silence", "state", "alerts", "until", "holds", "by", "reason")
SHORT = 8
"""Signs of an id that people type."""


def silence(
    lasts: Annotated[str, typer.Option("--for", metavar="TIME", help="How long: 30m, 2h, 1d; at most 366d.")],
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; whoever misses the page reads it.")],
    match: Annotated[
        list[str] | None,
        typer.Option("--match", "-m", metavar="MATCHER", help='name="value", or with != =~ !~. Every one must hold.'),
    ] = None,
    alert: Annotated[
        str | None,
        typer.Option("--alert", metavar="FINGERPRINT", help="Whatever has the labels of this alert; its name will do."),
    ] = None,
    by: By = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Keep alerts quiet: until it ends they are recorded, open no incident and page nobody.

    \b
    quell silence --match 'alertname="DiskFull"' --match 'env=~"dev|stage"' --for 2h --reason "disks are changed"
    quell silence --match 'service="payment", region!="eu-1"' --for 30m --reason "we move the database"
    quell silence --alert 5f0c6a1e93b2 --for 1d --reason "known; the fix comes tomorrow"

    An incident that is open already goes on. A pattern is held against the whole value.
    """
    if bool(match) == bool(alert):
        raise typer.BadParameter("say which alerts: --match (again and again), or --alert", param_hint="--match")
    asked: dict[str, Any] = {"for": lasts, "reason": reason}
    asked |= {"alert": alert} if alert else {"matchers": match}
    with Client(server, by=by) as client:
        told = client.post("/api/v1/silences", {**asked, "by": client.by})
    if as_json:
        print_json(told)
        return
    print(f"{clean(told['what'])} {clean(told['says'])}")
    print(f"End it sooner with: quell unsilence {told['id'][:SHORT]}")


def silences(
    ended: Annotated[bool, typer.Option("--ended", help="Those of the last five days too.")] = False,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """What is silenced, and which maintenance windows are on or come next.

    \b
    quell silences
    quell silences --ended
    """
    with Client(server) as client:
        told = client.get("/api/v1/silences", ended="true" if ended else None)
        told |= client.get("/api/v1/maintenance")
    if as_json:
        print_json(told)
        return
    found, windows = told["silences"], told["maintenance"]
    if found:
        print_table(COLUMNS, [_row(one) for one in found])
    on = sum(one["state"] == "active" for one in found)
    print(f"{counted(on, 'silence')} on" if found else "Nothing is silenced.")
    if windows:
        print()
        print_table(("maintenance", "alerts", "now", "next", "holds"), [_window(one) for one in windows])


def unsilence(
    silence: Annotated[str, typer.Argument(metavar="ID", help="The silence, or a unique beginning of its id.")],
    by: By = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """End a silence. What it held and still fires is told at once.

    \b
    quell unsilence 3f2a9c01

    When it has ended already, exits 1 and says when.
    """
    with Client(server, by=by) as client:
        told = client.post(f"/api/v1/silences/{name_of(silence)}/end", {"by": client.by})
    if as_json:
        print_json(told)
    else:
        print(f"{clean(told['what'])} is not silenced any more.")


def _row(one: dict[str, Any]) -> list[object]:
    return [
        one["id"][:SHORT], one["state"], clean(one["what"]), _minute(one["ends_at"]), one["holds"], clean(one["by"]),
        clean(one["reason"]),
    ]  # fmt: skip


def _window(one: dict[str, Any]) -> list[object]:
    now = f"on until {_minute(one['until'])}" if one["until"] else "off"
    follows = _minute(one["next"]) if one["next"] else "never again"
    return [clean(one["name"]), clean(one["what"]), now, follows, one["holds"]]


def _minute(at: str) -> str:
    return f"{datetime.fromisoformat(at):%Y-%m-%d %H:%M} UTC"
